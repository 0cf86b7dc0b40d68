// The members of a flat JSON object, read where they stand: a provider's answer without a tree made of it.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace byocd {

/// Refers to the text it was read from, which must outlive it. Of members with the same name the last one counts.
class JsonObject {
 public:
  /// Nothing when the text is not one JSON object.
  static std::optional<JsonObject> parse(std::string_view text);

  /// Text that is not empty.
  std::optional<std::string> text(std::string_view name) const;
  /// A whole number that an int can hold, written as a number or as text.
  std::optional<int> number(std::string_view name) const;

 private:
  // As they stand in the document: with quotes and escapes.
  struct Member {
    std::string_view name;
    std::string_view value;
  };

  std::string_view find(std::string_view name) const;

  std::vector<Member> members_;
  bool has_escapes_ = false;  // some name has
};

}  // namespace byocd
