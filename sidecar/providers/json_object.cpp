#include "json_object.h"

#include <bit>
#include <charconv>
#include <cstdint>
#include <cstring>
#include <nlohmann/json.hpp>

#include "../json.h"

namespace byocd {

namespace {

using nlohmann::json;

constexpr std::string_view space = " \t\n\r";

// What a string may hold as it is, in ASCII: all but quotes, backslashes and control characters.
bool is_plain(char c) {
  return static_cast<unsigned char>(c) < 0x80 && c >= ' ' && c != '"' && c != '\\';
}

// How many plain characters the text begins with.
std::size_t plain_length(std::string_view text) {
  constexpr std::uint64_t ones = 0x0101010101010101;
  std::size_t length = 0;
  // Eight at a time: the lowest byte whose highest bit is set in `others` is the first that is not plain.
  for (std::uint64_t eight = 0; length + sizeof eight <= text.size(); length += sizeof eight) {
    std::memcpy(&eight, text.data() + length, sizeof eight);
    if constexpr (std::endian::native == std::endian::big) eight = __builtin_bswap64(eight);
    const auto zeros = [](std::uint64_t bytes) { return (bytes - ones) & ~bytes; };
    const std::uint64_t others =
        (eight | (eight - ones * ' ') | zeros(eight ^ ones * '"') | zeros(eight ^ ones * '\\')) & ones * 0x80;
    if (others != 0) return length + static_cast<std::size_t>(std::countr_zero(others)) / 8;
  }
  while (length < text.size() && is_plain(text[length])) ++length;
  return length;
}

// Finds where values begin and end. Whether one is well-formed is left to the library, but for plain ASCII text and
// null.
class Scanner {
 public:
  explicit Scanner(std::string_view text) : text_(text) {}

  bool at_end() {
    skip_space();
    return position_ == text_.size();
  }

  bool skip(char expected) {
    skip_space();
    if (!stands_at(expected)) return false;
    ++position_;
    return true;
  }

  // Empty: no string.
  std::string_view string() {
    skip_space();
    const std::size_t begin = position_;
    const bool plain = pass_string();
    const auto token = text_.substr(begin, position_ - begin);
    return plain || json::accept(token) ? token : std::string_view();
  }

  // Empty: no value.
  std::string_view value() {
    skip_space();
    if (stands_at('"')) return string();
    const std::size_t begin = position_;
    const bool flat = pass_value();
    auto token = text_.substr(begin, position_ - begin);
    token = token.substr(0, token.find_last_not_of(space) + 1);
    const bool valid = token == "null" || (flat ? JsonObject::parse(token).has_value() : json::accept(token));
    return valid ? token : std::string_view();
  }

 private:
  void skip_space() {
    while (position_ < text_.size() && text_[position_] <= ' ' && space.find(text_[position_]) != space.npos)
      ++position_;
  }
  bool stands_at(char c) const { return position_ < text_.size() && text_[position_] == c; }

  // True: a string, of plain characters only.
  bool pass_string() {
    if (!stands_at('"')) return false;
    ++position_;
    bool plain = true;
    while (position_ < text_.size()) {
      position_ += plain_length(text_.substr(position_));
      if (position_ == text_.size()) break;
      const char c = text_[position_++];
      if (c == '"') return plain;
      plain = false;
      if (c == '\\' && position_ < text_.size()) ++position_;
    }
    return false;
  }

  // Stands at the comma or bracket behind it then, or at the end of the text. True: may be an object without brackets
  // inside.
  bool pass_value() {
    const bool object = stands_at('{');
    int brackets = 0;
    for (int depth = 0; position_ < text_.size();) {
      const char c = text_[position_];
      if (depth == 0 && (c == ',' || c == '}' || c == ']')) break;
      if (c == '"') {
        pass_string();
        continue;
      }
      if (c == '{' || c == '[') ++depth, ++brackets;
      if (c == '}' || c == ']') --depth;
      ++position_;
    }
    return object && brackets == 1;
  }

  std::string_view text_;
  std::size_t position_ = 0;
};

bool is_string(std::string_view token) {
  return !token.empty() && token.front() == '"';
}

std::string content(std::string_view token) {
  if (token.find('\\') != std::string_view::npos) return parse_json(token).get<std::string>();
  return std::string(token.substr(1, token.size() - 2));
}

bool is_content(std::string_view text, std::string_view token, bool may_be_escaped) {
  return token.substr(1, token.size() - 2) == text || (may_be_escaped && content(token) == text);
}

}  // namespace

std::optional<JsonObject> JsonObject::parse(std::string_view text) {
  Scanner scanner(text);
  JsonObject object;
  object.members_.reserve(24);
  if (!scanner.skip('{')) return std::nullopt;
  if (!scanner.skip('}')) {
    do {
      Member member;
      member.name = scanner.string();
      if (member.name.empty() || !scanner.skip(':')) return std::nullopt;
      member.value = scanner.value();
      if (member.value.empty()) return std::nullopt;
      object.members_.push_back(member);
      object.has_escapes_ |= member.name.find('\\') != member.name.npos;
    } while (scanner.skip(','));
    if (!scanner.skip('}')) return std::nullopt;
  }
  return scanner.at_end() ? std::optional(std::move(object)) : std::nullopt;
}

std::string_view JsonObject::find(std::string_view name) const {
  for (auto member = members_.rbegin(); member != members_.rend(); ++member)
    if (is_content(name, member->name, has_escapes_)) return member->value;
  return {};
}

std::optional<std::string> JsonObject::text(std::string_view name) const {
  const auto value = find(name);
  if (!is_string(value)) return std::nullopt;
  auto text = content(value);
  return text.empty() ? std::nullopt : std::optional(std::move(text));
}

std::optional<int> JsonObject::number(std::string_view name) const {
  const auto value = find(name);
  const std::string digits = is_string(value) ? content(value) : std::string(value);
  int number = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
  if (error != std::errc{} || end != digits.data() + digits.size()) return std::nullopt;
  return number;
}

}  // namespace byocd
