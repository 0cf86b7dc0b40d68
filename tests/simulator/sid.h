/// Twilio's string identifiers: two letters that name the kind, then 32 hexadecimal digits.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace simulator {

/// Whether `text` is `prefix` and 32 hexadecimal digits.
bool is_sid(std::string_view text, std::string_view prefix);

/// A SID derived from `name` alone, for resources that are made of an account's configuration (a number's `PN`, say).
std::string derived_sid(std::string_view prefix, std::string_view name);

/// Gives message SIDs that carry their serial number, scrambled: a fetch needs no index, which would grow with every
/// message.
class message_sids {
 public:
  using sid = std::array<char, 34>;

  /// SIDs of different seeds differ.
  explicit message_sids(std::uint64_t seed) : seed_(seed) {}

  sid make(std::uint64_t serial) const;

  /// The serial that `text` would have been made from; nothing when it was not made here.
  std::optional<std::uint64_t> serial_of(std::string_view text) const;

 private:
  std::uint64_t seed_;
};

}  // namespace simulator
