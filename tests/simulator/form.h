/// `application/x-www-form-urlencoded` text: request bodies, query strings and callback bodies (WHATWG URL Standard,
/// section 5).
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace simulator {

/// Decoded name and value pairs, in the order they came; names may repeat.
class form {
 public:
  form() = default;

  /// Decodes percent escapes byte for byte and `+` to a space; a stray `%` stays as it is. Never fails.
  static form parse(std::string_view encoded);

  /// The first value of `name`, or nullptr when the field is absent.
  const std::string* find(std::string_view name) const;

  /// The first value of `name`, or an empty view when it is absent: valid while the form lives.
  std::string_view get(std::string_view name) const;

  void add(std::string_view name, std::string_view value);

  /// The encoded text; the inverse of parse.
  std::string encoded() const;

  const std::vector<std::pair<std::string, std::string>>& fields() const { return fields_; }

 private:
  std::vector<std::pair<std::string, std::string>> fields_;
};

/// Appends `text` with everything but unreserved characters (RFC 3986, section 2.3) escaped.
void append_percent_encoded(std::string& out, std::string_view text);

}  // namespace simulator
