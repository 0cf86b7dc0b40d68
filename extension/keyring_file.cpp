#include "keyring_file.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <unistd.h>
#include <cerrno>

namespace byoc {
namespace {

constexpr char generate_hint[] = "make a key ring with: byocd keyring generate --file PATH";

// Opens the file after checking that nobody else can read it. Returns -1 with the problem written.
int open_private_file(const char* path, char* problem, size_t capacity) {
  const int file = open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0) {
    snprintf(problem, capacity, "byoc.keyring_file \"%s\" cannot be opened: %s; %s", path, strerror(errno),
             generate_hint);
    return -1;
  }
  struct stat info;
  const bool known = fstat(file, &info) == 0;
  if (!known || !S_ISREG(info.st_mode)) {
    snprintf(problem, capacity, "byoc.keyring_file \"%s\" is not a regular file", path);
  } else if (info.st_uid != geteuid() && info.st_uid != 0) {
    snprintf(problem, capacity, "byoc.keyring_file \"%s\" belongs to another user; chown it to the server's user",
             path);
  } else if ((info.st_mode & (info.st_uid == 0 ? 0037 : 0077)) != 0) {
    // As for PostgreSQL's TLS keys: a file of root may be readable by the server's group.
    snprintf(problem, capacity, "byoc.keyring_file \"%s\" has mode %04o, so others can reach it; run: chmod 0600 %s",
             path, static_cast<unsigned>(info.st_mode & 07777), path);
  } else {
    return file;
  }
  close(file);
  return -1;
}

}  // namespace

bool read_keyring_file(const char* path, char* text, size_t capacity, size_t& size, char* problem,
                       size_t problem_capacity) {
  const int file = open_private_file(path, problem, problem_capacity);
  if (file < 0) return false;
  size = 0;
  ssize_t got = 0;
  while (size < capacity && ((got = read(file, text + size, capacity - size)) > 0 || (got < 0 && errno == EINTR))) {
    if (got > 0) size += static_cast<size_t>(got);
  }
  const int read_error = got < 0 ? errno : 0;
  close(file);
  if (read_error != 0)
    snprintf(problem, problem_capacity, "byoc.keyring_file \"%s\" cannot be read: %s", path, strerror(read_error));
  return read_error == 0;
}

}  // namespace byoc
