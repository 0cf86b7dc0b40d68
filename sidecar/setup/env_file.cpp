#include "env_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <optional>
#include <set>

#include "../file.h"
#include "../providers/twilio_fields.h"

namespace byocd {

extern const std::string_view embedded_env_example;

namespace {

constexpr std::size_t longest_file = 1 << 20;

void trim_front(std::string_view& text) {
  text.remove_prefix(std::min(text.find_first_not_of(" \t"), text.size()));
}

bool drop_prefix(std::string_view& text, std::string_view prefix) {
  if (!text.starts_with(prefix)) return false;
  text.remove_prefix(prefix.size());
  trim_front(text);
  return true;
}

// One line without its end. `field`: the variable that it sets; nullptr: none of ours.
struct Line {
  std::string_view text;
  const TwilioField* field = nullptr;
  bool exported = false;
  bool example = false;  // commented out and empty
};

Line read_line(std::string_view text) {
  Line line{text};
  trim_front(text);
  line.example = drop_prefix(text, "#");
  line.exported = drop_prefix(text, "export ");
  const std::size_t equals = text.find('=');
  if (equals == text.npos) return line;
  for (const TwilioField& field : twilio_fields())
    if (text.substr(0, equals) == field.variable) line.field = &field;
  if (line.example && text.find_first_not_of(" \t\r", equals + 1) != text.npos) line.field = nullptr;
  return line;
}

Problem file_problem(const std::string& what, const std::string& path) {
  return {"file", with_errno(what, path) + ".", "Check the path, and that you may write there."};
}

Result<SecretString, Problem> read_file(const std::string& path) {
  const File file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file.open()) return fail(file_problem("open", path));
  std::string buffer(longest_file, '\0');
  std::size_t length = 0;
  ssize_t got = 1;
  for (; got > 0; length += static_cast<std::size_t>(std::max<ssize_t>(got, 0)))
    got = read(file.fd(), buffer.data() + length, longest_file - length);
  const Problem problem = file_problem("read", path);
  SecretString content(std::string_view(buffer).substr(0, length));
  OPENSSL_cleanse(buffer.data(), length);
  if (got < 0) return fail(problem);
  if (length == longest_file)
    return fail(Problem{"file", path + " is longer than a file of variables.", "Name another."});
  return content;
}

// A new file beside it, complete and durable; its name.
Result<std::string, Problem> write_beside(const std::string& path, const SecretString& text) {
  std::string fresh = fmt::format("{}.new-{}", path, getpid());
  File file(open(fresh.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (!file.open()) return fail(file_problem("create", fresh));
  struct stat old {};
  const bool kept_owner = stat(path.c_str(), &old) != 0 || (old.st_uid == geteuid() && old.st_gid == getegid()) ||
                          fchown(file.fd(), old.st_uid, old.st_gid) == 0;
  const auto size = static_cast<ssize_t>(text.reveal().size());
  if (kept_owner && write(file.fd(), text.reveal().data(), text.reveal().size()) == size && fsync(file.fd()) == 0 &&
      file.close())
    return fresh;
  const Problem problem = file_problem("write", fresh);
  unlink(fresh.c_str());
  return fail(problem);
}

}  // namespace

SecretString merge_env(std::string_view text, const CredentialFields& fields) {
  std::string merged;
  // Never grows.
  std::size_t room = text.size() + 2;
  for (const TwilioField& field : twilio_fields())
    if (const auto* value = find_field(fields, field.name))
      room += std::string_view(field.variable).size() + value->reveal().size() + 16;
  merged.reserve(room);
  std::set<const TwilioField*> set;
  const auto assign = [&](const TwilioField& field, bool exported) {
    if (exported) merged += "export ";
    merged.append(field.variable).append("=").append(find_field(fields, field.name)->reveal()) += '\n';
    set.insert(&field);
  };
  while (!text.empty()) {
    const std::size_t length = std::min(text.find('\n'), text.size());
    const Line line = read_line(text.substr(0, length));
    text.remove_prefix(std::min(length + 1, text.size()));
    const bool given = line.field && find_field(fields, line.field->name);
    if (given && set.count(line.field) == 0)
      assign(*line.field, line.exported);
    else if (!line.field || line.example)
      merged.append(line.text) += '\n';
  }
  for (const TwilioField& field : twilio_fields())
    if (find_field(fields, field.name) && set.count(&field) == 0) assign(field, false);
  SecretString result(merged);
  OPENSSL_cleanse(merged.data(), merged.size());
  return result;
}

Problem env_file_exists(const std::string& path) {
  return {"file_exists", fmt::format("{} exists already.", path),
          "With --force its TWILIO_ variables are replaced and all other lines kept."};
}

Result<Done, Problem> write_env_file(const std::string& path, const CredentialFields& fields, bool force) {
  // What a link leads to is replaced, not the link.
  const std::unique_ptr<char, decltype(&std::free)> real(realpath(path.c_str(), nullptr), &std::free);
  const std::string target = real ? real.get() : path;
  if (real && !force) return fail(env_file_exists(path));
  SecretString old{embedded_env_example};
  if (real) {
    auto content = read_file(target);
    if (!content) return fail(std::move(content.error()));
    old = std::move(*content);
  }
  const auto fresh = write_beside(target, merge_env(old.reveal(), fields));
  if (!fresh) return fail(fresh.error());
  // link() never replaces: what somebody made meanwhile stays.
  const bool done = real ? std::rename(fresh->c_str(), target.c_str()) == 0 : link(fresh->c_str(), target.c_str()) == 0;
  const int reason = errno;
  if (!done || !real) unlink(fresh->c_str());
  errno = reason;
  if (!done) return fail(errno == EEXIST ? env_file_exists(path) : file_problem("make", target));
  sync_folder(target);
  return Done{};
}

}  // namespace byocd
