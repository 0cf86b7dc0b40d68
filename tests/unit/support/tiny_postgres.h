// A server that lets everybody in and then listens only, as libpq needs it.
#pragma once

#include <string>
#include <utility>

#include "tiny_server.h"

namespace byocd {

inline std::string be32(unsigned value) {
  std::string bytes(4, '\0');
  for (int i = 0; i < 4; ++i) bytes[static_cast<std::size_t>(i)] = static_cast<char>(value >> (24 - 8 * i));
  return bytes;
}

/// A message of PostgreSQL's protocol.
inline std::string pg_message(char type, const std::string& body) {
  return type + be32(static_cast<unsigned>(body.size() + 4)) + body;
}

/// What a server says until it is ready.
inline std::string pg_welcome(bool is_standby) {
  const auto parameter = [](const std::string& name, const std::string& value) {
    return pg_message('S', name + '\0' + value + '\0');
  };
  return pg_message('R', be32(0)) + parameter("server_version", "15.0") +
         parameter("in_hot_standby", is_standby ? "on" : "off") + parameter("default_transaction_read_only", "off") +
         pg_message('K', be32(1) + be32(1)) + pg_message('Z', "I");
}

/// The port of a TinyServer.
inline std::string port_of(const TinyServer& server) {
  const std::string url = server.url();
  const auto colon = url.rfind(':') + 1;
  return url.substr(colon, url.rfind('/') - colon);
}

}  // namespace byocd
