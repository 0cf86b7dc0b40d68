#include "form.h"

#include <algorithm>
#include <array>

namespace byocd {

namespace {

constexpr std::array<bool, 256> is_unreserved = [] {
  std::array<bool, 256> table{};
  for (const char c : std::string_view("-._~")) table[static_cast<unsigned char>(c)] = true;
  for (int i = 0; i < 26; ++i) table['A' + i] = table['a' + i] = true;
  for (int i = 0; i < 10; ++i) table['0' + i] = true;
  return table;
}();

void append_encoded(std::string& out, std::string_view text) {
  static constexpr char digits[] = "0123456789ABCDEF";
  const std::size_t begin = out.size();
  out.resize(begin + 3 * text.size());
  char* to = &out[begin];
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (is_unreserved[byte]) {
      *to++ = c;
      continue;
    }
    *to++ = '%';
    *to++ = digits[byte >> 4];
    *to++ = digits[byte & 0x0f];
  }
  out.resize(static_cast<std::size_t>(to - out.data()));
}

}  // namespace

std::string percent_encoded(std::string_view text) {
  std::string out;
  append_encoded(out, text);
  return out;
}

void append_field(std::string& form, std::string_view name, std::string_view value) {
  form.reserve(form.size() + 3 * name.size() + 2 + 3 * value.size());
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
