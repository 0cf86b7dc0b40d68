#include "form.h"

#include <algorithm>

namespace byocd {

namespace {

constexpr bool is_unreserved(char c) {
  return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.' ||
         c == '_' || c == '~';
}

void append_encoded(std::string& out, std::string_view text) {
  static constexpr char digits[] = "0123456789ABCDEF";
  // What need not be encoded, in one piece.
  while (!text.empty()) {
    const auto end = std::find_if_not(text.begin(), text.end(), is_unreserved);
    out.append(text.begin(), end);
    text.remove_prefix(static_cast<std::size_t>(end - text.begin()));
    if (text.empty()) break;
    const auto byte = static_cast<unsigned char>(text.front());
    const char escape[] = {'%', digits[byte >> 4], digits[byte & 0x0f]};
    out.append(escape, sizeof escape);
    text.remove_prefix(1);
  }
}

}  // namespace

std::string percent_encoded(std::string_view text) {
  std::string out;
  append_encoded(out, text);
  return out;
}

void append_field(std::string& form, std::string_view name, std::string_view value) {
  form.reserve(form.size() + name.size() + 2 + value.size() * 2);
  if (!form.empty()) form += '&';
  append_encoded(form, name);
  form += '=';
  append_encoded(form, value);
}

namespace {

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

std::string decoded(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool escape =
        text[i] == '%' && i + 2 < text.size() && hex_digit(text[i + 1]) >= 0 && hex_digit(text[i + 2]) >= 0;
    if (escape) {
      out += static_cast<char>(hex_digit(text[i + 1]) << 4 | hex_digit(text[i + 2]));
      i += 2;
    } else {
      out += text[i] == '+' ? ' ' : text[i];
    }
  }
  return out;
}

}  // namespace

std::vector<std::pair<std::string, std::string>> parse_form(std::string_view form) {
  std::vector<std::pair<std::string, std::string>> fields;
  while (!form.empty()) {
    const auto field = form.substr(0, form.find('&'));
    form.remove_prefix(std::min(field.size() + 1, form.size()));
    if (field.empty()) continue;
    const std::size_t equals = field.find('=');
    fields.emplace_back(decoded(field.substr(0, equals)),
                        equals == field.npos ? std::string() : decoded(field.substr(equals + 1)));
  }
  return fields;
}

}  // namespace byocd
