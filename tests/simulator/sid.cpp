#include "sid.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "random.h"

namespace simulator {
namespace {

// Any odd number is invertible modulo 2^64; Newton's iteration doubles the correct bits each step.
constexpr std::uint64_t scramble = 0xD1342543DE82EF95;
constexpr std::uint64_t inverse_of(std::uint64_t odd) {
  std::uint64_t inverse = odd;
  for (int i = 0; i < 6; ++i) inverse *= 2 - odd * inverse;
  return inverse;
}
static_assert(scramble * inverse_of(scramble) == 1);

bool is_hex(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

std::uint64_t fnv1a(std::string_view text) {
  std::uint64_t hash = 0xCBF29CE484222325;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001B3;
  return hash;
}

void write_hex(char* out, std::uint64_t value) {
  for (int i = 15; i >= 0; --i, value >>= 4) out[i] = "0123456789abcdef"[value & 15];
}

}  // namespace

bool is_sid(std::string_view text, std::string_view prefix) {
  return text.size() == prefix.size() + 32 && text.starts_with(prefix) &&
         std::all_of(text.begin() + 2, text.end(), is_hex);
}

std::string derived_sid(std::string_view prefix, std::string_view name) {
  const auto hash = fnv1a(name);
  return fmt::format("{}{:016x}{:016x}", prefix, mixed(hash), mixed(~hash));
}

message_sids::sid message_sids::make(std::uint64_t serial) const {
  sid result{'S', 'M'};
  write_hex(result.data() + 2, mixed(seed_ ^ mixed(serial)));
  write_hex(result.data() + 18, (serial ^ seed_) * scramble);
  return result;
}

std::optional<std::uint64_t> message_sids::serial_of(std::string_view text) const {
  if (!is_sid(text, "SM")) return std::nullopt;
  std::uint64_t scrambled = 0;
  std::from_chars(text.data() + 18, text.data() + 34, scrambled, 16);
  const auto serial = scrambled * inverse_of(scramble) ^ seed_;
  const auto expected = make(serial);
  if (!std::equal(expected.begin(), expected.end(), text.begin())) return std::nullopt;
  return serial;
}

}  // namespace simulator
