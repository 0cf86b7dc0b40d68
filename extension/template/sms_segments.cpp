#include "sms_segments.h"

#include <cstddef>
#include <cstdint>

namespace byoc {
namespace {

struct Limits {
  int single;
  int several;
};
constexpr Limits gsm7 = {160, 153};
constexpr Limits ucs2 = {70, 67};

// Septets that a character takes in GSM-7 (3GPP TS 23.038, sections 6.2.1 and 6.2.1.1); 0: it is not in the alphabet.
int septets(char32_t c) {
  if (c < 0x80) {
    switch (c) {
      case U'\f':
      case U'^':
      case U'{':
      case U'}':
      case U'\\':
      case U'[':
      case U'~':
      case U']':
      case U'|':
        return 2;
      case U'`':
      case 0x7f:
        return 0;
      default:
        return c >= 0x20 || c == U'\n' || c == U'\r' ? 1 : 0;
    }
  }
  static constexpr char32_t others[] = U"£¥èéùìòÇØøÅåΔΦΓΛΩΠΨΣΘΞÆæßÉ¤¡ÄÖÑÜ§¿äöñüà";
  for (char32_t other : others) {
    if (c == other) return 1;
  }
  return c == U'€' ? 2 : 0;
}

// Reads the next character of UTF-8 text and moves past it; a stray byte counts as a character of its own.
char32_t next_character(std::string_view& text) {
  const auto byte = [&](std::size_t i) { return static_cast<std::uint8_t>(text[i]); };
  const std::uint8_t first = byte(0);
  const std::size_t size = first < 0xc0 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
  if (size == 1 || size > text.size()) {
    text.remove_prefix(1);
    return first;
  }
  char32_t c = first & (0xff >> (size + 1));
  for (std::size_t i = 1; i < size; ++i) c = (c << 6) | (byte(i) & 0x3f);
  text.remove_prefix(size);
  return c;
}

// Counts units, and the segments of a longer message, where a character never spans two.
class Packer {
 public:
  explicit Packer(Limits limits) : limits_(limits) {}
  void add(int units) {
    total_ += units;
    if (used_ + units > limits_.several) {
      ++segments_;
      used_ = 0;
    }
    used_ += units;
  }
  int segments() const { return total_ <= limits_.single ? 1 : segments_; }

 private:
  Limits limits_;
  int total_ = 0;
  int used_ = 0;
  int segments_ = 1;
};

}  // namespace

int count_segments(std::string_view body) noexcept {
  Packer as_gsm7(gsm7);
  Packer as_ucs2(ucs2);
  bool fits_gsm7 = true;
  while (!body.empty()) {
    const char32_t c = next_character(body);
    const int size = septets(c);
    fits_gsm7 = fits_gsm7 && size > 0;
    as_gsm7.add(size);
    as_ucs2.add(c >= 0x10000 ? 2 : 1);
  }
  return fits_gsm7 ? as_gsm7.segments() : as_ucs2.segments();
}

}  // namespace byoc
