#include "keyring_command.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <ctime>

#include "../extension/crypto/keyring.h"
#include "file.h"
#include "result.h"
#include "secret.h"

namespace byocd {

namespace {

constexpr int failure = 1;
constexpr const char header[] = "# pg_byoc key ring: keep it secret, keep a copy. Lost keys are lost data.\n";

int complain(const std::string& message) {
  fmt::print(stderr, "byocd keyring: {}\n", message);
  return failure;
}

/// A ring that is wiped at the end of its scope.
struct Ring : byoc::Keyring {
  Ring() : byoc::Keyring{} {}
  ~Ring() { byoc::cleanse(*this); }
  Ring(const Ring&) = delete;
  Ring& operator=(const Ring&) = delete;
};

std::string today() {
  const std::time_t now = std::time(nullptr);
  std::tm utc{};
  gmtime_r(&now, &utc);
  return fmt::format("{:04}-{:02}-{:02}", utc.tm_year + 1900, utc.tm_mon + 1, utc.tm_mday);
}

Result<Done, std::string> read_ring(const std::string& path, byoc::Keyring& ring, struct stat& info) {
  const File file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file.open()) return fail(with_errno("open", path));
  if (fstat(file.fd(), &info) != 0) return fail(with_errno("look at", path));
  // One byte more than allowed, so that a longer file shows.
  std::string text(byoc::keyring_file_limit + 1, '\0');
  std::size_t length = 0;
  ssize_t got = 0;
  while (length < text.size() && (got = read(file.fd(), text.data() + length, text.size() - length)) > 0)
    length += static_cast<std::size_t>(got);
  if (got < 0) return fail(with_errno("read", path));
  const auto problem = byoc::parse_keyring(std::string_view(text.data(), length), ring);
  OPENSSL_cleanse(text.data(), text.size());
  if (problem.error == byoc::KeyringError::none) return Done{};
  const std::string line = problem.line > 0 ? fmt::format(" line {}", problem.line) : "";
  return fail(fmt::format("{}{}: {}", path, line, byoc::describe(problem.error)));
}

// Writes and syncs a new file; `info` gives owner and mode when an old one is replaced.
Result<Done, std::string> write_ring(const std::string& path, const byoc::Keyring& ring, const struct stat* info) {
  File file(open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (!file.open()) return fail(with_errno("create", path));
  if (info != nullptr &&
      (fchown(file.fd(), info->st_uid, info->st_gid) != 0 || fchmod(file.fd(), info->st_mode) != 0)) {
    const std::string reason = with_errno("give the old owner and mode to", path);
    unlink(path.c_str());
    return fail(reason);
  }
  std::string text = header;
  text.reserve(text.size() + byoc::keyring_capacity * (byoc::keyring_line_capacity + 1));
  for (std::uint32_t i = 0; i < ring.count; ++i) {
    char line[byoc::keyring_line_capacity];
    text.append(line, byoc::format_keyring_line(ring.keys[i], line));
    text += '\n';
    OPENSSL_cleanse(line, sizeof line);
  }
  const bool written = write(file.fd(), text.data(), text.size()) == static_cast<ssize_t>(text.size()) &&
                       fsync(file.fd()) == 0 && file.close();
  OPENSSL_cleanse(text.data(), text.size());
  if (written) return Done{};
  const std::string reason = with_errno("write", path);
  unlink(path.c_str());
  return fail(reason);
}

void print_key(const byoc::MasterKey& key) {
  fmt::print("{}\t{}\t{}\n", key.id, key.active ? "active" : "retired", key.created);
}

bool append_new_key(byoc::Keyring& ring) {
  byoc::MasterKey& key = ring.keys[ring.count];
  do {
    if (!byoc::generate_master_key(today(), key)) return false;
  } while (ring.find(key.id) != nullptr);
  ++ring.count;
  return true;
}

}  // namespace

int keyring_generate(const std::string& path) {
  Ring ring;
  if (!append_new_key(ring)) return complain("the system has no random bytes to give");
  if (const auto written = write_ring(path, ring, nullptr); !written) return complain(written.error());
  sync_folder(path);
  print_key(ring.keys[0]);
  return 0;
}

int keyring_add(const std::string& path) {
  Ring ring;
  struct stat info {};
  if (const auto read = read_ring(path, ring, info); !read) return complain(read.error());
  if (ring.count == byoc::keyring_capacity)
    return complain(fmt::format("{} has {} keys, and more do not fit: remove retired ones that wrap nothing any more",
                                path, byoc::keyring_capacity));
  for (std::uint32_t i = 0; i < ring.count; ++i) ring.keys[i].active = false;
  if (!append_new_key(ring)) return complain("the system has no random bytes to give");

  const std::string fresh = fmt::format("{}.new-{}", path, getpid());
  if (const auto written = write_ring(fresh, ring, &info); !written) return complain(written.error());
  if (std::rename(fresh.c_str(), path.c_str()) != 0) {
    const std::string reason = with_errno("replace", path);
    unlink(fresh.c_str());
    return complain(reason);
  }
  sync_folder(path);
  print_key(ring.keys[ring.count - 1]);
  return 0;
}

int keyring_list(const std::string& path) {
  Ring ring;
  struct stat info {};
  if (const auto read = read_ring(path, ring, info); !read) return complain(read.error());
  for (std::uint32_t i = 0; i < ring.count; ++i) print_key(ring.keys[i]);
  return 0;
}

}  // namespace byocd
