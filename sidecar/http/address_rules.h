// Which addresses a URL that a tenant chose may lead to, so that nobody reaches through this program what only it can
// reach: this machine, the network around it, a cloud's metadata.
#pragma once

#include <sys/socket.h>

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace byocd {

/// An IPv4 or IPv6 address. IPv4 is kept as ::ffff:0:0/96, so that both spellings of one are the same address.
using IpAddress = std::array<std::uint8_t, 16>;

/// A range of addresses, as 10.0.0.0/8, fd00::/8 or a single address names it.
class Network {
 public:
  /// Nothing when it is no CIDR, or when bits behind the prefix are set.
  static std::optional<Network> parse(std::string_view text);

  bool contains(const IpAddress& address) const;

 private:
  IpAddress address_{};
  int prefix_ = 128;
};

class AddressRules {
 public:
  /// `allowed`: where everything goes: private addresses, any port, without TLS.
  explicit AddressRules(std::vector<Network> allowed = {}) : allowed_(std::move(allowed)) {}

  /// Why no connection may be made to an address, as the rest of a sentence about the URL; nullptr: it may. An address
  /// that is written within another one (IPv4-mapped, NAT64) counts as the inner one. `encrypted`: by TLS.
  const char* objection(const sockaddr& address, bool encrypted) const;

 private:
  std::vector<Network> allowed_;
};

/// An address for people.
std::string to_text(const sockaddr& address);

}  // namespace byocd
