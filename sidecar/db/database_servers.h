// The servers that a connection string names.
#pragma once

#include <string>
#include <vector>

namespace byocd {

/// One server, in libpq's parameters; what is empty is libpq's to choose.
struct DatabaseServer {
  std::string host;
  std::string hostaddr;
  std::string port;
};

struct DatabaseServers {
  /// In their order; at least one.
  std::vector<DatabaseServer> list;
  /// Any will do, a standby too: target_session_attrs says nothing else.
  bool any = true;
};

/// With libpq's variables, service file and defaults. What cannot be told apart (a string that is wrong, say) is one
/// server without a name: libpq has its own word on it.
DatabaseServers servers_of(const std::string& conninfo);

}  // namespace byocd
