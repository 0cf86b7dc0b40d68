#include "redact.h"

#include <algorithm>
#include <cctype>

namespace byocd {

namespace {

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}
bool is_hex(char c) {
  return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}
bool is_alnum(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) != 0;
}
bool is_base64(char c) {
  return is_alnum(c) || c == '+' || c == '/' || c == '-' || c == '_';
}

template <class Predicate>
std::size_t run_length(std::string_view text, std::size_t from, Predicate matches) {
  std::size_t end = from;
  while (end < text.size() && matches(text[end])) ++end;
  return end - from;
}

bool starts_word(std::string_view text, std::size_t at) {
  return at == 0 || !is_alnum(text[at - 1]);
}

bool matches_word(std::string_view text, std::size_t at, std::string_view word) {
  if (!starts_word(text, at) || text.size() - at < word.size()) return false;
  return std::equal(word.begin(), word.end(), text.begin() + static_cast<std::ptrdiff_t>(at),
                    [](char a, char b) { return a == std::tolower(static_cast<unsigned char>(b)); });
}

// Length of the E.164 number at `at`: a plus sign, as itself or percent-encoded, and 7 to 15 digits
// (ITU-T E.164 allows at most 15; shorter ones are not subscriber numbers).
std::size_t number_length(std::string_view text, std::size_t at) {
  std::size_t prefix = 0;
  if (text[at] == '+')
    prefix = 1;
  else if (text.substr(at, 3) == "%2B" || text.substr(at, 3) == "%2b")
    prefix = 3;
  if (prefix == 0) return 0;
  const std::size_t digits = run_length(text, at + prefix, is_digit);
  return digits >= 7 && digits <= 15 ? prefix + digits : 0;
}

// Length of a secret-looking word that starts at `at`, or 0.
std::size_t token_length(std::string_view text, std::size_t at) {
  if (!starts_word(text, at)) return 0;
  if (run_length(text, at, is_alnum) == 32 && run_length(text, at, is_hex) == 32) return 32;
  if (text.substr(at, 3) == "eyJ") {
    const auto length = run_length(text, at, [](char c) { return is_base64(c) || c == '.'; });
    if (length > 20) return length;
  }
  // 32 bytes in base64 are 43 characters and one padding sign: a master key.
  const std::size_t base64 = run_length(text, at, is_base64);
  if (base64 == 43 && at + base64 < text.size() && text[at + base64] == '=') return base64 + 1;
  return 0;
}

// Length of `//user:password@` up to the `@`, when `at` is at the slashes; 0 otherwise.
std::size_t userinfo_length(std::string_view text, std::size_t at) {
  if (text.substr(at, 2) != "//") return 0;
  const std::size_t end = text.find_first_of("/ \t\n\"'", at + 2);
  const std::string_view authority = text.substr(at + 2, end == text.npos ? text.npos : end - at - 2);
  const std::size_t sign = authority.rfind('@');
  if (sign == authority.npos || authority.substr(0, sign).find(':') == authority.npos) return 0;
  return 2 + sign;
}

// Length of `password=...` in a connection string, quoted or not; 0 otherwise.
std::size_t password_length(std::string_view text, std::size_t at) {
  static constexpr std::string_view key = "password=";
  if (!matches_word(text, at, key)) return 0;
  std::size_t end = at + key.size();
  if (end < text.size() && text[end] == '\'') {
    const std::size_t close = text.find('\'', end + 1);
    return (close == text.npos ? text.size() : close + 1) - at;
  }
  end += run_length(text, end, [](char c) { return c != ' ' && c != '&' && c != '\n'; });
  return end - at;
}

}  // namespace

std::string masked_number(std::string_view number) {
  if (number.size() < 7) return "…";
  std::string masked(number.substr(0, 2));
  masked += "…";
  masked += number.substr(number.size() - 2);
  return masked;
}

std::string redacted(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t at = 0; at < text.size();) {
    if (const std::size_t number = number_length(text, at)) {
      out += masked_number(text.substr(at, number));
      at += number;
    } else if (const std::size_t userinfo = userinfo_length(text, at)) {
      out += "//…";
      at += userinfo;
    } else if (const std::size_t password = password_length(text, at)) {
      out += "password=…";
      at += password;
    } else if (const std::size_t scheme = matches_word(text, at, "basic ")    ? 6
                                          : matches_word(text, at, "bearer ") ? 7
                                                                              : 0;
               scheme != 0 && run_length(text, at + scheme, [](char c) { return is_base64(c) || c == '.'; }) >= 16) {
      out += text.substr(at, scheme);
      out += "…";
      at += scheme + run_length(text, at + scheme, [](char c) { return is_base64(c) || c == '.' || c == '='; });
    } else if (const std::size_t token = token_length(text, at)) {
      out += "…";
      at += token;
    } else {
      out += text[at++];
    }
  }
  return out;
}

}  // namespace byocd
