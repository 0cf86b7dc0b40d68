// One connection to PostgreSQL on the event loop: libpq without a blocking call, made anew whenever it is lost.
#pragma once

#include <chrono>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "../loop.h"
#include "database.h"
#include "resolver.h"
#include "rows.h"
#include "server_search.h"

struct pg_result;

namespace byocd {

enum class Format { text, binary };

/// A statement that is prepared once a connection, unless it is pooled. Both texts must outlive the connection
/// (literals).
struct Statement {
  const char* name;
  const char* sql;
  /// Of all its parameters, and of all columns of its answer.
  Format params = Format::text;
  Format answer = Format::text;
};

/// Parameters in the statement's format; nothing stands for NULL.
using Params = std::vector<std::optional<std::string>>;
using QueryCallback = std::function<void(QueryResult)>;

/// Statements with their parameters.
using Preamble = std::vector<std::pair<Statement, Params>>;

/// Asynchronous libpq. Queries run one at a time, in order. While the connection is not ready they fail at once with
/// `connection_lost`; so do those in flight when it breaks. Callbacks come from the loop, never from within query().
///
/// While a query has no answer it looks whether another server has taken over, and goes there.
class Connection {
 public:
  struct Handlers {
    /// The session is up: set it up by query(), then call accept() or refuse().
    std::function<void()> on_session;
    /// accept() was called: ordinary queries may run.
    std::function<void()> on_ready;
    /// A ready connection broke. Called after the callbacks of its queries.
    std::function<void()> on_lost;
    std::function<void(const std::string& channel, const std::string& payload)> on_notification;
  };

  /// `label` names the connection in the log and to the observer.
  Connection(Loop& loop, std::string label, Database database);
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  const Database& database() const { return database_; }
  /// Asked for what goes ahead of each transaction of a pooled connection, with it in one go.
  void set_preamble(std::function<Preamble()> preamble) { preamble_ = std::move(preamble); }

  void set_handlers(Handlers handlers) { handlers_ = std::move(handlers); }

  /// Starts connecting, and goes on by itself until close().
  void open();
  /// Ends the session; queries in flight fail.
  void close();

  /// The handshake went well.
  void accept();
  /// The handshake failed: ends the session and tries again after `delay`.
  void refuse(std::chrono::milliseconds delay);

  bool ready() const { return state_ == State::ready; }
  void query(const Statement& statement, Params params, QueryCallback callback) {
    transaction({}, statement, std::move(params), std::move(callback));
  }
  /// Runs the statement in one transaction with what comes ahead of it, and sends them in one go. Answers its rows,
  /// once they are committed, or the first error.
  void transaction(Preamble ahead, const Statement& statement, Params params, QueryCallback callback);

 private:
  enum class State { closed, waiting, connecting, handshake, ready };
  struct Pending {
    Preamble ahead;
    Statement statement;
    Params params;
    QueryCallback callback;
    const char* preparing = nullptr;  // the statement of this name itself is on its way, the call follows
    Clock::time_point since = {};
  };

  void connect();
  void on_connected(Result<ConnectionHandle, std::string> result);
  void look_for_successor();
  void on_socket(SocketEvents events);
  void read_answers();
  void take_answer(const pg_result* raw, Rows rows);
  void finish_query();
  void start_next();
  bool in_pipeline(const Pending& pending) const;
  const Statement* unprepared(const Pending& pending) const;
  bool send(Pending& pending);
  bool send_pipeline(const Pending& pending);
  bool send_call(const Statement& statement, const Params& params);
  void flush();
  void lose(const std::string& reason, std::optional<std::chrono::milliseconds> retry_after = {});
  void report(const std::string& reason);
  void fail_later(QueryCallback callback);

  Loop& loop_;
  std::string label_;
  Database database_;
  Handlers handlers_;
  std::function<Preamble()> preamble_;
  State state_ = State::closed;
  Resolver resolver_;
  ServerSearch search_;  // for a server, or, while a query has no answer, for another one
  ConnectionHandle connection_;
  std::unique_ptr<SocketWatch> watch_;
  std::unique_ptr<Timer> retry_timer_;
  std::unique_ptr<Timer> deadline_timer_;  // of connecting, then of the query on its way
  std::unique_ptr<Timer> successor_timer_;
  std::unique_ptr<Timer> refused_timer_;  // delivers refused_ from the loop
  std::deque<QueryCallback> refused_;
  std::chrono::milliseconds backoff_{0};
  std::string last_reason_;
  std::set<std::string> prepared_;
  std::deque<Pending> queue_;  // the first one is on its way when busy_
  bool busy_ = false;
  std::optional<QueryResult> answer_;
};

}  // namespace byocd
