// The REST API: turns requests into one database transaction each and its answer into HTTP. Decides nothing about
// access.
#pragma once

#include <string>
#include <vector>

#include "../db/tenant_database.h"
#include "../queue/busy_times.h"
#include "../timers.h"
#include "event_streams.h"
#include "rate_limiter.h"
#include "router.h"

namespace byocd {

class RestApi {
 public:
  struct Options {
    /// Where browsers reach this server; empty: not known.
    std::string public_url;
    /// Origins of the host application, which may hand over sessions.
    std::vector<std::string> allowed_origins;
    /// Requests a second with one token.
    int rate = 1000;
  };

  RestApi(TenantDatabase& database, BusyTimes& busy_times, Timers& timers, Options options);

  void add_routes(Router& router);
  /// A request's token, once nothing that can be told without the database speaks against it.
  Result<SecretString, ApiAnswer> admit(const ApiRequest& request);
  /// Ends event streams: the server is about to stop.
  void stop() { streams_.stop(); }
  void set_rate(int per_second) { limiter_.set_rate(per_second); }

 private:
  /// Makes the statement's parameters; or the problem that keeps it from being run.
  using Prepare = Result<Params, ApiAnswer> (*)(const ApiRequest& request);
  /// Makes the answer of the statement's rows.
  using Compose = ApiAnswer (*)(const RestApi& api, const ApiRequest& request, const Rows& rows);

  void route(Router& router, const char* method, const char* path, const Statement& statement, Prepare prepare,
             Compose compose);
  void run(const ApiRequest& request, const SecretString& token, const Statement& statement, Params params,
           Compose compose, const Reply& reply);
  std::optional<ApiAnswer> refuse(const SecretString& token);

  /// Which calendar, when it is busy, and then the answer: three questions, one after the other.
  void availability(const ApiRequest& request, const Reply& reply);
  void open_session(const ApiRequest& request, SecretString token, ApiAnswer good, const Reply& reply);
  void start_session(const ApiRequest& request, const Reply& reply);
  void open_dashboard(const ApiRequest& request, const Reply& reply);
  void end_session(const ApiRequest& request, const Reply& reply);

  static ApiAnswer document(const RestApi& api, const ApiRequest& request, const Rows& rows);
  static ApiAnswer page(const RestApi& api, const ApiRequest& request, const Rows& rows);
  static ApiAnswer credential(const RestApi& api, const ApiRequest& request, const Rows& rows);
  static ApiAnswer new_credential(const RestApi& api, const ApiRequest& request, const Rows& rows);
  static ApiAnswer accepted_credential(const RestApi& api, const ApiRequest& request, const Rows& rows);
  static ApiAnswer new_message(const RestApi& api, const ApiRequest& request, const Rows& rows);
  static ApiAnswer nothing(const RestApi& api, const ApiRequest& request, const Rows& rows);
  static ApiAnswer session(const RestApi& api, const ApiRequest& request, const Rows& rows);

  TenantDatabase& database_;
  BusyTimes& busy_times_;
  Timers& timers_;
  Options options_;
  std::string base_;  // what a proxy puts before our paths
  RateLimiter limiter_;
  EventStreams streams_;
};

}  // namespace byocd
