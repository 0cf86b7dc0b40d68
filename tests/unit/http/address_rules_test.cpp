#include "http/address_rules.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>

#include <cstring>

namespace byocd {
namespace {

sockaddr_storage endpoint(const std::string& host, int port) {
  sockaddr_storage storage{};
  auto& ipv4 = reinterpret_cast<sockaddr_in&>(storage);
  auto& ipv6 = reinterpret_cast<sockaddr_in6&>(storage);
  if (inet_pton(AF_INET, host.c_str(), &ipv4.sin_addr) == 1) {
    ipv4.sin_family = AF_INET;
    ipv4.sin_port = htons(static_cast<std::uint16_t>(port));
  } else {
    EXPECT_EQ(inet_pton(AF_INET6, host.c_str(), &ipv6.sin6_addr), 1) << host;
    ipv6.sin6_family = AF_INET6;
    ipv6.sin6_port = htons(static_cast<std::uint16_t>(port));
  }
  return storage;
}

std::string objection(const AddressRules& rules, const std::string& host, int port = 443, bool encrypted = true) {
  const auto storage = endpoint(host, port);
  const char* objection = rules.objection(reinterpret_cast<const sockaddr&>(storage), encrypted);
  return objection == nullptr ? "" : objection;
}

const std::string not_public = "it leads to an address that is not public";

TEST(AddressRules, PermitPublicAddresses) {
  for (const char* host :
       {"1.1.1.1",         "8.8.8.8",         "9.255.255.255", "11.0.0.0",        "100.63.255.255",
        "100.128.0.0",     "126.255.255.255", "128.0.0.0",     "168.63.129.15",   "169.253.255.255",
        "169.255.0.0",     "172.15.255.255",  "172.32.0.0",    "192.0.1.0",       "192.167.255.255",
        "192.169.0.0",     "198.17.255.255",  "198.20.0.0",    "223.255.255.255", "2606:4700:4700::1111",
        "2001:4860::8888", "2a00:1450::1",    "2001:200::1",   "::ffff:8.8.8.8",  "64:ff9b::8.8.8.8"})
    EXPECT_EQ(objection(AddressRules(), host), "") << host;
}

TEST(AddressRules, RefuseAddressesThatAreNotPublic) {
  for (const char* host :
       {"0.0.0.0",        "0.1.2.3",         "10.0.0.0",      "10.255.255.255",  "100.64.0.0",  "100.127.255.255",
        "127.0.0.1",      "127.255.255.255", "168.63.129.16", "169.254.169.254", "169.254.0.0", "172.16.0.0",
        "172.31.255.255", "192.0.0.192",     "192.0.2.1",     "192.88.99.1",     "192.168.0.0", "192.168.255.255",
        "198.18.0.0",     "198.19.255.255",  "198.51.100.1",  "203.0.113.1",     "224.0.0.1",   "239.255.255.255",
        "240.0.0.1",      "255.255.255.255"}) {
    EXPECT_EQ(objection(AddressRules(), host), not_public) << host;
    EXPECT_EQ(objection(AddressRules(), std::string("::ffff:") + host), not_public) << host;
    EXPECT_EQ(objection(AddressRules(), std::string("64:ff9b::") + host), not_public) << host;
    EXPECT_EQ(objection(AddressRules(), std::string("::") + host), not_public) << host;  // IPv4-compatible
  }
  for (const char* host : {"::",
                           "::1",
                           "100::1",
                           "64:ff9b:1::8.8.8.8",
                           "fc00::1",
                           "fd00::1",
                           "fdff:ffff::1",
                           "fe80::1",
                           "febf::1",
                           "fec0::1",
                           "ff02::1",
                           "ff0e::1",
                           "2001::1",
                           "2001:1::1",
                           "2001:10::1",
                           "2001:20::1",
                           "2001:db8::1",
                           "2002:7f00:1::1",
                           "2002:808:808::1",
                           "3fff::1",
                           "3fff:fff::1",
                           "4000::1",
                           "5f00::1",
                           "1fff::1"})
    EXPECT_EQ(objection(AddressRules(), host), not_public) << host;
}

TEST(AddressRules, WantTlsAndAPortForIt) {
  const AddressRules rules;
  EXPECT_EQ(objection(rules, "8.8.8.8", 443, false), "it does not begin with https://");
  EXPECT_EQ(objection(rules, "8.8.8.8", 8443, false), "it does not begin with https://");
  for (const int port : {443, 1024, 8443, 65535}) EXPECT_EQ(objection(rules, "8.8.8.8", port), "") << port;
  for (const int port : {0, 22, 25, 80, 442, 444, 1023})
    EXPECT_EQ(objection(rules, "2606:4700::1", port), "its port is neither 443 nor one from 1024 up") << port;
}

TEST(AddressRules, PermitEverythingWithinAllowedNetworks) {
  const AddressRules rules({*Network::parse("10.1.0.0/16"), *Network::parse("fd00:1::/32"), *Network::parse("::1"),
                            *Network::parse("127.0.0.1")});
  for (const char* host : {"10.1.0.0", "10.1.255.255", "::ffff:10.1.2.3", "64:ff9b::10.1.2.3", "fd00:1::1",
                           "fd00:1:ffff::1", "::1", "127.0.0.1"})
    EXPECT_EQ(objection(rules, host, 80, false), "") << host;
  for (const char* host : {"10.0.255.255", "10.2.0.0", "fd00:2::1", "::2", "127.0.0.2", "fe80::1"})
    EXPECT_EQ(objection(rules, host), not_public) << host;
  EXPECT_EQ(objection(rules, "8.8.8.8", 80, false), "it does not begin with https://");
}

TEST(AddressRules, RefuseOtherFamilies) {
  sockaddr_storage storage{};
  storage.ss_family = AF_UNIX;
  EXPECT_EQ(AddressRules().objection(reinterpret_cast<const sockaddr&>(storage), true), not_public);
}

TEST(Network, IsACidr) {
  for (const char* text : {"0.0.0.0/0", "::/0", "10.0.0.0/8", "10.1.2.3/32", "10.1.2.3", "10.128.0.0/9", "fe80::/10",
                           "::1/128", "::ffff:10.0.0.0/104"})
    EXPECT_TRUE(Network::parse(text)) << text;
  for (const char* text :
       {"", "/", "/8", "10.0.0.0/", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/8x", "10.0.0.0/ 8", "10.0.0.1/8",
        "10.0.0.0/7/8", "10/8", "10.0.0/8", "::/129", "fe80::/8", "localhost", "10.0.0.0/8,::1", " 10.0.0.0/8"})
    EXPECT_FALSE(Network::parse(text)) << text;
}

TEST(Network, HoldsItsAddresses) {
  const AddressRules all_ipv4({*Network::parse("0.0.0.0/0")});
  EXPECT_EQ(objection(all_ipv4, "127.0.0.1"), "");
  EXPECT_EQ(objection(all_ipv4, "::1"), not_public);
  const AddressRules all({*Network::parse("::/0")});
  EXPECT_EQ(objection(all, "127.0.0.1", 22, false), "");
  EXPECT_EQ(objection(all, "::1", 22, false), "");
}

}  // namespace
}  // namespace byocd
