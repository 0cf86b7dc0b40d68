// Files that must be there as a whole or not at all.
#pragma once

#include <string>

namespace byocd {

/// Closes a file descriptor.
class File {
 public:
  explicit File(int fd) : fd_(fd) {}
  ~File() { close(); }
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  int fd() const { return fd_; }
  bool open() const { return fd_ >= 0; }
  /// False: what was written may be lost.
  bool close();

 private:
  int fd_;
};

/// `cannot WHAT PATH: ` and what errno means.
std::string with_errno(const std::string& what, const std::string& path);

/// Makes what was renamed or made in the file's folder durable.
void sync_folder(const std::string& path);

}  // namespace byocd
