#include "jwks_file.h"

#include "pg_boundary.h"
#include "settings.h"

#include <openssl/crypto.h>

#include <fcntl.h>
#include <sys/stat.h>

#include <unistd.h>
#include <cerrno>

namespace byoc {
namespace {

Jwks keys = {};
char keys_problem[512] = "";
// When the configuration was last reloaded, as of the moment the keys were read. Every backend notes the time of a
// reload itself, also when the setting did not change, so a file that was replaced is noticed at pg_reload_conf().
TimestampTz read_at = 0;
bool is_read = false;
std::uint64_t trusted_signer = 0;  // found in `keys`

// Opens the file after checking that nobody else can change it. Returns -1 with the problem written.
int open_guarded_file(const char* path, mode_t& mode) {
  const int file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (file < 0) {
    snprintf(keys_problem, sizeof keys_problem, "byoc.jwks_file \"%s\" cannot be opened: %s", path, strerror(errno));
    return -1;
  }
  struct stat info;
  if (fstat(file, &info) != 0 || !S_ISREG(info.st_mode)) {
    snprintf(keys_problem, sizeof keys_problem, "byoc.jwks_file \"%s\" is not a regular file", path);
  } else if (info.st_uid != geteuid() && info.st_uid != 0) {
    snprintf(keys_problem, sizeof keys_problem,
             "byoc.jwks_file \"%s\" belongs to another user; chown it to the server's user", path);
  } else if ((info.st_mode & 0022) != 0) {
    snprintf(keys_problem, sizeof keys_problem,
             "byoc.jwks_file \"%s\" has mode %04o, so others can change it; run: chmod go-w %s", path,
             static_cast<unsigned>(info.st_mode & 07777), path);
  } else {
    // As for the key ring: a file of root may be readable by the server's group.
    mode = info.st_mode & (info.st_uid == 0 ? 0007 : 0077);
    return file;
  }
  close(file);
  return -1;
}

void read_keys() {
  release(keys);
  keys_problem[0] = '\0';
  trusted_signer = 0;
  if (jwks_file == nullptr || jwks_file[0] == '\0') {
    snprintf(keys_problem, sizeof keys_problem, "byoc.jwks_file is not set");
    return;
  }
  mode_t open_to_others = 0;
  const int file = open_guarded_file(jwks_file, open_to_others);
  if (file < 0) return;
  static char text[jwks_file_limit + 1];  // may hold an HS256 secret: wiped below
  size_t size = 0;
  ssize_t got = 0;
  while (size < sizeof text &&
         ((got = read(file, text + size, sizeof text - size)) > 0 || (got < 0 && errno == EINTR))) {
    if (got > 0) size += static_cast<size_t>(got);
  }
  const int read_error = got < 0 ? errno : 0;
  close(file);
  if (read_error != 0) {
    snprintf(keys_problem, sizeof keys_problem, "byoc.jwks_file \"%s\" cannot be read: %s", jwks_file,
             strerror(read_error));
  } else if (const JwksProblem found = parse_jwks({text, size}, keys); found.error != JwksError::none) {
    if (found.key > 0) {
      snprintf(keys_problem, sizeof keys_problem, "byoc.jwks_file \"%s\", key %d: %s", jwks_file, found.key,
               describe(found.error));
    } else {
      snprintf(keys_problem, sizeof keys_problem, "byoc.jwks_file \"%s\": %s", jwks_file, describe(found.error));
    }
  } else if (keys.holds_secret() && open_to_others != 0) {
    release(keys);
    snprintf(keys_problem, sizeof keys_problem,
             "byoc.jwks_file \"%s\" holds an HS256 secret and others can read it; run: chmod 0600 %s", jwks_file,
             jwks_file);
  }
  OPENSSL_cleanse(text, sizeof text);
}

}  // namespace

const Jwks* current_jwks(const char** problem) {
  if (!is_read || read_at != PgReloadTime) {
    read_keys();
    read_at = PgReloadTime;
    // A file that is missing or damaged is tried again at the next use: mending it needs no reload.
    is_read = keys_problem[0] == '\0';
  }
  *problem = keys_problem;
  return keys_problem[0] == '\0' ? &keys : nullptr;
}

bool is_signer_trusted(std::uint64_t signer) {
  if (is_read && read_at == PgReloadTime && signer == trusted_signer) return true;
  const char* problem = nullptr;
  const Jwks* set = current_jwks(&problem);
  if (set == nullptr) {
    ereport(ERROR, (errcode(ERRCODE_CONFIG_FILE_ERROR), errmsg("the tenant context cannot be verified: %s", problem)));
  }
  if (!set->has(signer)) return false;
  trusted_signer = signer;
  return true;
}

}  // namespace byoc
