#include "address_rules.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>
#include <charconv>
#include <cstring>

namespace byocd {

namespace {

constexpr IpAddress mapped_prefix{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
constexpr int mapped_bits = 96;
// RFC 6052: the last four bytes are an IPv4 address.
constexpr IpAddress nat64_prefix{0, 0x64, 0xff, 0x9b};

bool same_prefix(const IpAddress& a, const IpAddress& b, int bits) {
  const auto bytes = static_cast<std::size_t>(bits / 8);
  if (!std::equal(a.begin(), a.begin() + bytes, b.begin())) return false;
  const int rest = bits % 8;
  return rest == 0 || (a[bytes] ^ b[bytes]) >> (8 - rest) == 0;
}

IpAddress mapped(const void* ipv4) {
  IpAddress address = mapped_prefix;
  std::memcpy(&address[12], ipv4, 4);
  return address;
}

struct Endpoint {
  IpAddress address;
  int port;
};

std::optional<Endpoint> endpoint_of(const sockaddr& address) {
  if (address.sa_family == AF_INET) {
    sockaddr_in ipv4;
    std::memcpy(&ipv4, &address, sizeof ipv4);
    return Endpoint{mapped(&ipv4.sin_addr), ntohs(ipv4.sin_port)};
  }
  if (address.sa_family != AF_INET6) return std::nullopt;
  sockaddr_in6 ipv6;
  std::memcpy(&ipv6, &address, sizeof ipv6);
  Endpoint endpoint{{}, ntohs(ipv6.sin6_port)};
  std::memcpy(endpoint.address.data(), &ipv6.sin6_addr, endpoint.address.size());
  if (same_prefix(endpoint.address, nat64_prefix, mapped_bits)) endpoint.address = mapped(&endpoint.address[12]);
  return endpoint;
}

bool in_any(const std::vector<Network>& networks, const IpAddress& address) {
  return std::any_of(networks.begin(), networks.end(), [&](const Network& each) { return each.contains(address); });
}

std::vector<Network> networks(std::initializer_list<const char*> texts) {
  std::vector<Network> all;
  for (const char* text : texts) all.push_back(Network::parse(text).value());
  return all;
}

// IANA's registries of special-purpose addresses: what is not globally reachable, or leads to somewhere else.
bool is_public(const IpAddress& address) {
  static const std::vector<Network> special_ipv4 = networks({
      "0.0.0.0/8",         // this network
      "10.0.0.0/8",        // private
      "100.64.0.0/10",     // carrier-grade NAT
      "127.0.0.0/8",       // loopback
      "168.63.129.16/32",  // Azure's host, from within its virtual machines
      "169.254.0.0/16",    // link-local, and clouds' metadata
      "172.16.0.0/12",     // private
      "192.0.0.0/24",      // protocol assignments
      "192.0.2.0/24",      // documentation
      "192.88.99.0/24",    // 6to4 relays
      "192.168.0.0/16",    // private
      "198.18.0.0/15",     // benchmarks
      "198.51.100.0/24",   // documentation
      "203.0.113.0/24",    // documentation
      "224.0.0.0/4",       // multicast
      "240.0.0.0/4",       // reserved, broadcast
  });
  // Of IPv6 only 2000::/3 is in use for the world: not ::1, fc00::/7, fe80::/10, ff00::/8 and 64:ff9b:1::/48.
  static const std::vector<Network> global_ipv6 = networks({"2000::/3"});
  static const std::vector<Network> special_ipv6 = networks({
      "2001::/23",      // protocol assignments, Teredo
      "2001:db8::/32",  // documentation
      "2002::/16",      // 6to4
      "3fff::/20",      // documentation
  });
  if (same_prefix(address, mapped_prefix, mapped_bits)) return !in_any(special_ipv4, address);
  return in_any(global_ipv6, address) && !in_any(special_ipv6, address);
}

}  // namespace

std::optional<Network> Network::parse(std::string_view text) {
  const std::size_t slash = text.find('/');
  const std::string address(text.substr(0, slash));
  Network network;
  in_addr ipv4{};
  const bool is_ipv4 = inet_pton(AF_INET, address.c_str(), &ipv4) == 1;
  if (is_ipv4)
    network.address_ = mapped(&ipv4);
  else if (inet_pton(AF_INET6, address.c_str(), network.address_.data()) != 1)
    return std::nullopt;
  if (slash != text.npos) {
    const auto bits = text.substr(slash + 1);
    const auto [end, error] = std::from_chars(bits.data(), bits.data() + bits.size(), network.prefix_);
    if (error != std::errc{} || end != bits.data() + bits.size()) return std::nullopt;
    if (network.prefix_ < 0 || network.prefix_ > (is_ipv4 ? 32 : 128)) return std::nullopt;
    if (is_ipv4) network.prefix_ += mapped_bits;
  }
  for (int bit = network.prefix_; bit < 128; ++bit)
    if ((network.address_[static_cast<std::size_t>(bit / 8)] & (0x80 >> bit % 8)) != 0) return std::nullopt;
  return network;
}

bool Network::contains(const IpAddress& address) const {
  return same_prefix(address, address_, prefix_);
}

const char* AddressRules::objection(const sockaddr& address, bool encrypted) const {
  const auto endpoint = endpoint_of(address);
  if (endpoint && in_any(allowed_, endpoint->address)) return nullptr;
  if (!endpoint || !is_public(endpoint->address)) return "it leads to an address that is not public";
  if (!encrypted) return "it does not begin with https://";
  // What listens there is no HTTPS server, and may not like what it gets.
  if (endpoint->port != 443 && endpoint->port < 1024) return "its port is neither 443 nor one from 1024 up";
  return nullptr;
}

std::string to_text(const sockaddr& address) {
  char host[INET6_ADDRSTRLEN] = "?";
  if (address.sa_family == AF_INET) {
    sockaddr_in ipv4;
    std::memcpy(&ipv4, &address, sizeof ipv4);
    inet_ntop(AF_INET, &ipv4.sin_addr, host, sizeof host);
  } else if (address.sa_family == AF_INET6) {
    sockaddr_in6 ipv6;
    std::memcpy(&ipv6, &address, sizeof ipv6);
    inet_ntop(AF_INET6, &ipv6.sin6_addr, host, sizeof host);
  }
  return host;
}

}  // namespace byocd
