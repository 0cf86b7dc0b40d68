#include "json_object.h"

#include <array>
#include <charconv>
#include <nlohmann/json.hpp>

namespace byocd {

namespace {

using nlohmann::json;

constexpr std::string_view space = " \t\n\r";

// Printable ASCII but quotes and backslashes.
constexpr std::array<bool, 256> is_plain = [] {
  std::array<bool, 256> table{};
  for (std::size_t c = ' '; c <= '~'; ++c) table[c] = c != '"' && c != '\\';
  return table;
}();

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
    if (position_ == text_.size() || text_[position_] != expected) return false;
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
    if (text_.substr(position_, 1) == "\"") return string();
    const std::size_t begin = position_;
    const bool flat = pass_value();
    auto token = text_.substr(begin, position_ - begin);
    token = token.substr(0, token.find_last_not_of(space) + 1);
    const bool valid = token == "null" || (flat ? JsonObject::parse(token).has_value() : json::accept(token));
    return valid ? token : std::string_view();
  }

 private:
  void skip_space() { position_ = std::min(text_.find_first_not_of(space, position_), text_.size()); }

  // True: a string, of printable ASCII without escapes.
  bool pass_string() {
    if (text_.substr(position_, 1) != "\"") return false;
    bool plain = true;
    for (++position_; position_ < text_.size(); ++position_) {
      const char c = text_[position_];
      if (is_plain[static_cast<unsigned char>(c)]) continue;
      if (c == '"') {
        ++position_;
        return plain;
      }
      plain = false;
      if (c == '\\' && position_ + 1 < text_.size()) ++position_;
    }
    return false;
  }

  // Stands at the comma or bracket behind it then, or at the end of the text. True: may be an object without brackets
  // inside.
  bool pass_value() {
    const bool object = text_.substr(position_, 1) == "{";
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
  if (token.find('\\') != std::string_view::npos) return json::parse(token).get<std::string>();
  return std::string(token.substr(1, token.size() - 2));
}

bool is_content(std::string_view text, std::string_view token) {
  if (token.find('\\') != std::string_view::npos) return content(token) == text;
  return token.substr(1, token.size() - 2) == text;
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
    } while (scanner.skip(','));
    if (!scanner.skip('}')) return std::nullopt;
  }
  return scanner.at_end() ? std::optional(std::move(object)) : std::nullopt;
}

std::string_view JsonObject::find(std::string_view name) const {
  for (auto member = members_.rbegin(); member != members_.rend(); ++member)
    if (is_content(name, member->name)) return member->value;
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
