#include "template.h"

#include <algorithm>
#include <cstring>
#include <new>

namespace byoc {
namespace {

constexpr std::string_view setting_prefix = "org.";
constexpr std::size_t truncate_limit = 10000;

bool is_continuation(char c) noexcept {
  return (static_cast<unsigned char>(c) & 0xC0) == 0x80;
}

std::string_view trim(std::string_view text) noexcept {
  const auto begin = text.find_first_not_of(" \t\n");
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(" \t\n") - begin + 1);
}

// Reads the inside of {{ }}: name, then filters.
class ReferenceParser {
 public:
  explicit ReferenceParser(std::string_view rest) noexcept : rest_(rest) {}

  TemplateError parse(Reference& reference) {
    std::string_view name = trim(take_until("|}"));
    reference.kind = ReferenceKind::column;
    if (name.substr(0, setting_prefix.size()) == setting_prefix) {
      reference.kind = ReferenceKind::setting;
      name.remove_prefix(setting_prefix.size());
    }
    if (name.empty() || name.find_first_of("{\"\n") != std::string_view::npos) return TemplateError::bad_name;
    reference.name = name;
    while (!rest_.empty() && rest_.front() == '|') {
      rest_.remove_prefix(1);
      if (const auto error = parse_filter(reference); error != TemplateError::none) return error;
    }
    if (rest_.substr(0, 2) != "}}") return TemplateError::unclosed_reference;
    rest_.remove_prefix(2);
    return TemplateError::none;
  }

  std::string_view rest() const noexcept { return rest_; }

 private:
  std::string_view take_until(std::string_view stops) noexcept {
    const auto taken = rest_.substr(0, rest_.find_first_of(stops));
    rest_.remove_prefix(taken.size());
    return taken;
  }

  void skip_blanks() noexcept {
    while (!rest_.empty() && rest_.front() == ' ') rest_.remove_prefix(1);
  }

  TemplateError parse_filter(Reference& reference) {
    const auto name = trim(take_until(":|}"));
    const bool known = name == "default" || name == "truncate";
    if (!known) return TemplateError::unknown_filter;
    if (rest_.empty() || rest_.front() != ':') return TemplateError::bad_argument;
    rest_.remove_prefix(1);
    skip_blanks();
    Filter filter{name == "default" ? Filter::Kind::fallback : Filter::Kind::truncate, {}, 0};
    const bool good = name == "default" ? parse_quoted(filter.fallback) : parse_limit(filter.limit);
    if (!good) return TemplateError::bad_argument;
    skip_blanks();
    if (rest_.empty() || (rest_.front() != '|' && rest_.front() != '}')) return TemplateError::bad_argument;
    reference.filters.push_back(std::move(filter));
    return TemplateError::none;
  }

  bool parse_quoted(std::string& out) {
    if (rest_.empty() || rest_.front() != '"') return false;
    rest_.remove_prefix(1);
    while (!rest_.empty() && rest_.front() != '"') {
      if (rest_.front() == '\\') rest_.remove_prefix(1);
      if (rest_.empty()) return false;
      out.push_back(rest_.front());
      rest_.remove_prefix(1);
    }
    if (rest_.empty()) return false;
    rest_.remove_prefix(1);
    return true;
  }

  bool parse_limit(std::size_t& limit) noexcept {
    const auto digits = trim(take_until("|}"));
    if (digits.empty() || digits.size() > 5) return false;
    for (char c : digits) {
      if (c < '0' || c > '9') return false;
      limit = limit * 10 + static_cast<std::size_t>(c - '0');
    }
    return limit >= 1 && limit <= truncate_limit;
  }

  std::string_view rest_;
};

std::string_view apply(const std::vector<Filter>& filters, std::string_view value) noexcept {
  for (const Filter& filter : filters) {
    if (filter.kind == Filter::Kind::truncate) {
      value = first_characters(value, filter.limit);
    } else if (value.empty()) {
      value = filter.fallback;
    }
  }
  return value;
}

}  // namespace

Template* Template::compile(std::string_view source, TemplateProblem& problem) noexcept {
  problem = {};
  Template* compiled = nullptr;
  try {
    compiled = new Template();
    std::string_view rest = source;
    for (;;) {
      const auto begin = rest.find("{{");
      if (begin == std::string_view::npos) break;
      Reference reference;
      reference.text_before = rest.substr(0, begin);
      ReferenceParser parser(rest.substr(begin + 2));
      problem.error = parser.parse(reference);
      if (problem.error != TemplateError::none) {
        problem.position = count_characters(source.substr(0, source.size() - rest.size() + begin)) + 1;
        destroy(compiled);
        return nullptr;
      }
      compiled->references_.push_back(std::move(reference));
      rest = parser.rest();
    }
    compiled->text_after_ = rest;
    return compiled;
  } catch (const std::exception&) {
    problem = {TemplateError::out_of_memory, 0};
    destroy(compiled);
    return nullptr;
  }
}

void Template::destroy(Template* compiled) noexcept {
  delete compiled;
}

std::size_t Template::render(const std::string_view* values, char* out, std::size_t capacity) const noexcept {
  std::size_t size = 0;
  const auto add = [&](std::string_view text) {
    if (size < capacity) std::memcpy(out + size, text.data(), std::min(text.size(), capacity - size));
    size += text.size();
  };
  for (std::size_t i = 0; i < references_.size(); ++i) {
    add(references_[i].text_before);
    add(apply(references_[i].filters, values[i]));
  }
  add(text_after_);
  return size;
}

const char* describe(TemplateError error) noexcept {
  switch (error) {
    case TemplateError::none:
      return "no problem";
    case TemplateError::unclosed_reference:
      return "{{ without a matching }}";
    case TemplateError::bad_name:
      return "{{ }} needs a column name or org.setting";
    case TemplateError::unknown_filter:
      return "unknown filter; there are default:\"text\" and truncate:N";
    case TemplateError::bad_argument:
      return "a filter's argument is wrong; write default:\"text\" or truncate:N with N from 1 to 10000";
    case TemplateError::out_of_memory:
      return "out of memory";
  }
  return "unknown problem";
}

std::string_view first_characters(std::string_view text, std::size_t limit) noexcept {
  std::size_t characters = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (!is_continuation(text[i]) && ++characters > limit) return text.substr(0, i);
  }
  return text;
}

std::size_t count_characters(std::string_view text) noexcept {
  std::size_t characters = 0;
  for (char c : text) characters += !is_continuation(c);
  return characters;
}

}  // namespace byoc
