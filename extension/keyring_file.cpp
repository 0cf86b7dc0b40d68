#include "keyring_file.h"

#include "settings.h"

#include <openssl/crypto.h>

#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>
#include <unistd.h>

namespace byoc {
namespace {

constexpr char generate_hint[] = "make a key ring with: byocd keyring generate --file PATH";

// Opens the file after checking that nobody else can read it. Returns -1 with the problem written.
int open_private_file(const char* path, char* problem, size_t capacity) {
    const int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) {
        snprintf(problem, capacity, "byoc.keyring_file \"%s\" cannot be opened: %s; %s", path, strerror(errno), generate_hint);
        return -1;
    }
    struct stat info;
    const bool known = fstat(file, &info) == 0;
    if (!known || !S_ISREG(info.st_mode)) {
        snprintf(problem, capacity, "byoc.keyring_file \"%s\" is not a regular file", path);
    } else if (info.st_uid != geteuid() && info.st_uid != 0) {
        snprintf(problem, capacity, "byoc.keyring_file \"%s\" belongs to another user; chown it to the server's user", path);
    } else if ((info.st_mode & (info.st_uid == 0 ? 0037 : 0077)) != 0) {
        // As for PostgreSQL's TLS keys: a file of root may be readable by the server's group.
        snprintf(problem, capacity, "byoc.keyring_file \"%s\" has mode %04o, so others can reach it; run: chmod 0600 %s", path,
                 static_cast<unsigned>(info.st_mode & 07777), path);
    } else {
        return file;
    }
    close(file);
    return -1;
}

// Reads and parses the ring. On a problem `ring` is empty and `problem` says why.
void read_keyring(const char* path, Keyring& ring, char* problem, size_t capacity) {
    problem[0] = '\0';
    cleanse(ring);
    if (path == nullptr || path[0] == '\0') {
        snprintf(problem, capacity, "byoc.keyring_file is not set; %s and set byoc.keyring_file = 'PATH' in postgresql.conf",
                 generate_hint);
        return;
    }
    const int file = open_private_file(path, problem, capacity);
    if (file < 0) return;
    static char text[keyring_file_limit + 1]; // in the process's own memory, wiped below
    size_t size = 0;
    ssize_t got = 0;
    while (size < sizeof text && ((got = read(file, text + size, sizeof text - size)) > 0 || (got < 0 && errno == EINTR))) {
        if (got > 0) size += static_cast<size_t>(got);
    }
    const int read_error = got < 0 ? errno : 0;
    close(file);
    if (read_error != 0) {
        snprintf(problem, capacity, "byoc.keyring_file \"%s\" cannot be read: %s", path, strerror(read_error));
    } else if (const KeyringProblem found = parse_keyring({text, size}, ring); found.error != KeyringError::none) {
        if (found.line > 0) {
            snprintf(problem, capacity, "byoc.keyring_file \"%s\", line %d: %s", path, found.line, describe(found.error));
        } else {
            snprintf(problem, capacity, "byoc.keyring_file \"%s\": %s", path, describe(found.error));
        }
    }
    OPENSSL_cleanse(text, sizeof text);
}

} // namespace

void load_keyring_at_start(SharedState& state) {
    read_keyring(keyring_file, state.keyring, state.keyring_problem, sizeof state.keyring_problem);
    if (state.keyring_problem[0] != '\0') {
        ereport(WARNING, (errcode(ERRCODE_CONFIG_FILE_ERROR), errmsg("pg_byoc has no key ring: %s", state.keyring_problem),
                          errdetail("The server starts, but no credential can be stored or used.")));
    } else {
        ereport(LOG, (errmsg("pg_byoc key ring loaded: %u key(s), \"%s\" is active", state.keyring.count,
                             state.keyring.active()->id)));
    }
}

void copy_keyring(Keyring& copy) {
    SharedState* state = shared_state();
    char problem[sizeof state->keyring_problem];
    LWLockAcquire(state->lock, LW_SHARED);
    memcpy(problem, state->keyring_problem, sizeof problem);
    if (problem[0] == '\0') copy = state->keyring;
    LWLockRelease(state->lock);
    if (problem[0] != '\0') {
        ereport(ERROR, (errcode(ERRCODE_CONFIG_FILE_ERROR), errmsg("pg_byoc has no key ring: %s", problem),
                        errhint("Mend the file and restart PostgreSQL.")));
    }
}

} // namespace byoc
