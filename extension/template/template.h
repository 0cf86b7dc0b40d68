// Message templates: text with {{column}} and {{org.setting}} references and filters.
//
//     Hi {{name|default:"there"}}, {{summary|truncate:80}} {{org.alert_phone}}
//
// default:"text"  used when the value is absent or empty; \" and \\ stand for a quote and a backslash
// truncate:N      the first N Unicode characters, N from 1 to 10000
// Filters apply from left to right. A lone { or } is text. Values are inserted as they are and never read as a
// template again. Text is UTF-8.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace byoc {

enum class TemplateError {
  none,
  unclosed_reference,  // {{ without }}
  bad_name,            // empty, or not a column or org.setting name
  unknown_filter,
  bad_argument,  // missing quote, number out of range
  out_of_memory,
};

struct TemplateProblem {
  TemplateError error = TemplateError::none;
  std::size_t position = 0;  // 1-based character where the reference begins
};

enum class ReferenceKind { column, setting };

struct Filter {
  enum class Kind { fallback, truncate } kind;
  std::string fallback;
  std::size_t limit = 0;  // characters
};

// One reference with the literal text before it.
struct Reference {
  std::string text_before;
  ReferenceKind kind;
  std::string name;  // column or setting, without "org."
  std::vector<Filter> filters;
};

// A compiled template. Created and freed by hand, because its users are C code that longjmps.
class Template {
 public:
  // Null on a problem. The caller frees the result with destroy().
  static Template* compile(std::string_view source, TemplateProblem& problem) noexcept;
  static void destroy(Template* compiled) noexcept;  // accepts null

  const std::vector<Reference>& references() const noexcept { return references_; }

  // Fills in one value a reference, in the order of references(); an absent value is an empty view. Writes at most
  // `capacity` bytes to `out` and returns the whole size, as snprintf does.
  std::size_t render(const std::string_view* values, char* out, std::size_t capacity) const noexcept;

 private:
  Template() = default;
  std::vector<Reference> references_;
  std::string text_after_;
};

// The problem as a phrase for people.
const char* describe(TemplateError error) noexcept;

// The first `limit` characters of UTF-8 text.
std::string_view first_characters(std::string_view text, std::size_t limit) noexcept;

// Number of characters in UTF-8 text.
std::size_t count_characters(std::string_view text) noexcept;

}  // namespace byoc
