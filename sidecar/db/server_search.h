// Finds the server that a session can be had of: several hosts, several addresses of each.
#pragma once

#include <deque>
#include <functional>
#include <list>
#include <memory>
#include <string>
#include <vector>

#include "../loop.h"
#include "../result.h"
#include "database.h"
#include "database_servers.h"
#include "resolver.h"

struct pg_conn;

namespace byocd {

struct FinishConnection {
  void operator()(pg_conn* connection) const;
};
using ConnectionHandle = std::unique_ptr<pg_conn, FinishConnection>;

/// Which of the servers that the connection string names a session is with: host and port. Another address of the same
/// host may well be the same server.
std::string place_of(pg_conn* connection);

/// Tries the servers in their order, the next one when one failed or has not answered for a moment, so that hosts
/// that are gone without a word hold up nothing; while such are waited for, those that refused are tried again. Names
/// are looked up each time, and only looked up: certificates and password files go by the names.
class ServerSearch {
 public:
  using Callback = std::function<void(Result<ConnectionHandle, std::string>)>;

  ServerSearch(Loop& loop, Resolver& resolver, const Database& database);
  ~ServerSearch();
  ServerSearch(const ServerSearch&) = delete;
  ServerSearch& operator=(const ServerSearch&) = delete;

  /// Calls back once, from the loop, with the first session or every reason why there is none. `avoided`: a place_of()
  /// that is not tried.
  void start(const std::string& avoided, Callback callback);
  /// Nobody is called any more.
  void stop();

 private:
  struct Trial {
    DatabaseServer server;
    Resolver::Request lookup;
    ConnectionHandle connection;
    std::unique_ptr<SocketWatch> watch;
  };
  using Trials = std::list<Trial>;

  void next();
  void resolve(const DatabaseServer& server);
  void connect(const DatabaseServer& server);
  void poll(Trials::iterator trial);
  void watch(Trials::iterator trial, SocketEvents events);
  void give_up(Trials::iterator trial, const std::string& reason);
  void end(Result<ConnectionHandle, std::string> result);

  Resolver& resolver_;
  Loop& loop_;
  const Database& database_;
  std::unique_ptr<Timer> next_timer_;
  Callback callback_;
  bool any_ = false;
  std::deque<DatabaseServer> untried_;
  std::deque<DatabaseServer> refused_;  // tried again while others say nothing
  Trials trials_;
  std::vector<std::string> reasons_;
};

}  // namespace byocd
