#include "text.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <iterator>

namespace simulator {
namespace {

constexpr char32_t malformed = 0xFFFFFFFF;

/// Takes one code point off the front of `rest`; `malformed` (and nothing taken) when the bytes are not UTF-8.
char32_t take_code_point(std::string_view& rest) {
  const auto first = static_cast<unsigned char>(rest.front());
  if (first < 0x80) {
    rest.remove_prefix(1);
    return first;
  }
  const std::size_t length = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
  if (first < 0xC2 || first > 0xF4 || rest.size() < length) return malformed;
  char32_t value = first & (0xFFU >> (length + 1));
  for (std::size_t i = 1; i < length; ++i) {
    const auto next = static_cast<unsigned char>(rest[i]);
    if ((next & 0xC0) != 0x80) return malformed;
    value = value << 6 | (next & 0x3FU);
  }
  constexpr std::array<char32_t, 5> least = {0, 0, 0x80, 0x800, 0x10000};
  if (value < least[length] || value > 0x10FFFF || (value >= 0xD800 && value <= 0xDFFF)) return malformed;
  rest.remove_prefix(length);
  return value;
}

// GSM 03.38 basic set beyond the ASCII characters it shares, and the ASCII characters it lacks or holds in the
// extension table.
constexpr std::u32string_view gsm_beyond_ascii = U"£¥èéùìòÇØøÅåΔΦΓΛΩΠΨΣΘΞÆæßÉ¤¡ÄÖÑÜ§¿äöñüà";
constexpr std::u32string_view gsm_extension = U"\f^{}\\[~]|€";

constexpr unsigned find_gsm_septets(char32_t c) {
  if (gsm_extension.find(c) != std::u32string_view::npos) return 2;
  if (c < 0x80) return (c >= 0x20 && c != '`' && c != 0x7F) || c == '\n' || c == '\r' ? 1 : 0;
  return gsm_beyond_ascii.find(c) != std::u32string_view::npos ? 1 : 0;
}

constexpr auto gsm_septets_of_ascii = [] {
  std::array<unsigned, 0x80> septets{};
  for (char32_t c = 0; c < septets.size(); ++c) septets[c] = find_gsm_septets(c);
  return septets;
}();

/// Septets of one character: 1, 2 for the extension table, 0 when GSM-7 lacks it.
unsigned gsm_septets(char32_t c) {
  return c < gsm_septets_of_ascii.size() ? gsm_septets_of_ascii[c] : find_gsm_septets(c);
}

bool is_ascii(char c) {
  return static_cast<unsigned char>(c) < 0x80;
}

/// Segments needed for characters of `width(c)` units each, `single` units in one message or `part` in each of several.
/// 0 when one has no width.
template <typename Width>
unsigned segments_of(std::string_view text, unsigned single, unsigned part, Width width) {
  unsigned total = 0;
  unsigned segments = 1;
  unsigned used = 0;
  while (!text.empty()) {
    const auto units = width(take_code_point(text));
    if (units == 0) return 0;
    total += units;
    if (used + units > part) {
      ++segments;
      used = 0;
    }
    used += units;
  }
  return total <= single ? 1 : segments;
}

bool is_escaped_in_json(char c) {
  return c == '"' || c == '\\' || static_cast<unsigned char>(c) < 0x20;
}

void append_json_escape(std::string& out, char c) {
  switch (c) {
    case '"':
      out += "\\\"";
      return;
    case '\\':
      out += "\\\\";
      return;
    case '\n':
      out += "\\n";
      return;
    case '\r':
      out += "\\r";
      return;
    case '\t':
      out += "\\t";
      return;
    default:
      fmt::format_to(std::back_inserter(out), "\\u{:04x}", static_cast<unsigned>(static_cast<unsigned char>(c)));
  }
}

}  // namespace

bool is_utf8(std::string_view text) {
  for (;;) {
    text.remove_prefix(static_cast<std::size_t>(std::find_if_not(text.begin(), text.end(), is_ascii) - text.begin()));
    if (text.empty()) return true;
    if (take_code_point(text) == malformed) return false;
  }
}

std::size_t count_characters(std::string_view text) {
  return static_cast<std::size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
}

unsigned count_segments(std::string_view text) {
  if (const auto segments = segments_of(text, 160, 153, gsm_septets)) return segments;
  return segments_of(text, 70, 67, [](char32_t c) { return c > 0xFFFF ? 2U : 1U; });
}

void append_json_string(std::string& out, std::string_view text) {
  out.push_back('"');
  while (!text.empty()) {
    // What stands as it is, in one piece.
    const auto end = std::find_if(text.begin(), text.end(), is_escaped_in_json);
    out.append(text.begin(), end);
    text.remove_prefix(static_cast<std::size_t>(end - text.begin()));
    if (text.empty()) break;
    append_json_escape(out, text.front());
    text.remove_prefix(1);
  }
  out.push_back('"');
}

}  // namespace simulator
