#include "handshake.h"

#include "../log.h"
#include "api_version.h"

namespace byocd {

namespace {

using namespace std::chrono_literals;

// Nothing but a person's act (an upgrade, a grant) helps here, so there is no hurry.
constexpr std::chrono::milliseconds slow_retry = 10s;

// JIT made claims of a few hundred microseconds take tens of milliseconds. The timeouts
// are ours to set: a server's own for applications must not end a listening session, and no call of ours may hang.
constexpr Statement configure_dispatcher{
    "configure",
    "SELECT set_config('jit', 'off', $1), set_config('statement_timeout', '30s', $1),"
    " set_config('default_transaction_isolation', 'read committed', $1),"
    " set_config('lock_timeout', '10s', $1), set_config('idle_session_timeout', '0', $1),"
    " set_config('idle_in_transaction_session_timeout', '0', $1), set_config('search_path', 'pg_catalog, pg_temp', $1),"
    " set_config('byoc.fallback', $2, $1)"};
// A tenant's request is short, and waits for another transaction not long. role is as by SET ROLE.
constexpr Statement configure_tenant{
    "configure_tenant",
    "SELECT set_config('jit', 'off', $1), set_config('statement_timeout', '5s', $1),"
    " set_config('default_transaction_isolation', 'read committed', $1),"
    " set_config('lock_timeout', '2s', $1), set_config('idle_session_timeout', '0', $1),"
    " set_config('idle_in_transaction_session_timeout', '10s', $1), set_config('TimeZone', 'UTC', $1),"
    " set_config('search_path', 'pg_catalog, pg_temp', $1), set_config('role', $2, $1)"};
// A host that lost its power must not keep rows locked until TCP gives up (a quarter of an hour, or two hours): the
// server finds out as fast as byocd does (begin_connection). Without effect on a socket in the file system.
constexpr Statement watch_link{
    "watch_link",
    "SELECT set_config('tcp_keepalives_idle', '10', false),"
    " set_config('tcp_keepalives_interval', '3', false),"
    " set_config('tcp_keepalives_count', '3', false), set_config('tcp_user_timeout', '20s', false)"};
// default_transaction_isolation comes too late for the transaction that sets it.
constexpr Statement isolate{"isolate", "SET transaction_isolation = 'read committed'"};
constexpr Statement api_version{"api_version", api_versions_query};
constexpr Statement announce{"announce_fallback",
                             "SELECT current_setting('byoc.fallback') FROM byoc.announce_fallback($1::text, $2::text)"};
constexpr Statement listen_jobs{"listen", "LISTEN byoc_jobs"};
constexpr Statement register_session{"register_dispatcher", "SELECT byoc.register_dispatcher($1::uuid)"};

}  // namespace

Handshake::Handshake(Connection& connection, Timers& timers, std::string label, Options options)
    : connection_(connection),
      label_(std::move(label)),
      options_(std::move(options)),
      retry_timer_(timers.make_timer([this] { register_dispatcher(); })) {}

void Handshake::reset() {
  retry_timer_->stop();
  progress_ = Progress::unreachable;
}

void Handshake::run() {
  retry_timer_->stop();
  progress_ = Progress::reached;
  if (options_.dispatcher) identity_ = options_.new_identity();
  configure();
}

void Handshake::configure() {
  const bool tenant = !options_.tenant_role.empty();
  const Statement& statement = tenant ? configure_tenant : configure_dispatcher;
  if (connection_.database().pooled) {
    connection_.set_preamble([this, tenant, statement] {
      return Preamble{{isolate, {}},
                      {statement, {"true", tenant ? options_.tenant_role : *connection_.database().fallback}}};
    });
    return check_version();
  }
  connection_.query(statement, {"false", tenant ? options_.tenant_role : "0"}, [this](QueryResult result) {
    if (!result) return give_up(result.error());
    watch();
  });
}

void Handshake::watch() {
  connection_.query(watch_link, {}, [this](QueryResult result) {
    if (!result) return give_up(result.error());
    check_version();
  });
}

void Handshake::check_version() {
  connection_.query(api_version, {}, [this](QueryResult result) {
    if (!result) return give_up(result.error());
    if (const auto problem = find_version_problem(*result)) {
      report(*problem);
      return connection_.refuse(slow_retry);
    }
    progress_ = Progress::version_matches;
    // A pooled session is not ours to announce in: the one that dispatches does.
    options_.fallback && !connection_.database().pooled ? announce_fallback() : go_on();
  });
}

void Handshake::announce_fallback() {
  const CredentialFields& fields = options_.fallback->fields;
  const auto service = fields.find("messaging_service_sid");
  const auto sender = service != fields.end() ? service : fields.find("phone_number");
  connection_.query(announce, {fields.at("account_sid").reveal(), sender->second.reveal()}, [this](QueryResult result) {
    if (!result) return give_up(result.error());
    *connection_.database().fallback = result->text(0, 0);
    go_on();
  });
}

void Handshake::go_on() {
  if (options_.dispatcher) return listen();
  last_report_.clear();
  connection_.accept();
}

void Handshake::listen() {
  connection_.query(listen_jobs, {}, [this](QueryResult result) {
    if (!result) return give_up(result.error());
    register_dispatcher();
  });
}

void Handshake::register_dispatcher() {
  connection_.query(register_session, {identity_}, [this](QueryResult result) {
    if (result) {
      last_report_.clear();
      return connection_.accept();
    }
    // A restored copy that nobody adopted: the session stays, and asks again until somebody did.
    if (result.error().sqlstate == "55000") {
      report("this database may not send: " + result.error().text());
      return retry_timer_->start(options_.retry_interval);
    }
    give_up(result.error());
  });
}

std::string Handshake::advice(const DbError& error) const {
  if (error.sqlstate == "3F000" || error.sqlstate == "42883")
    return "; is pg_byoc installed in this database (CREATE EXTENSION pg_byoc)?";
  if (!options_.tenant_role.empty() && (error.sqlstate == "42501" || error.sqlstate == "22023"))
    return fmt::format(
        "; tenant-role must be a role with byoc.grant_tenant() that this login may become (GRANT {} TO ...)",
        options_.tenant_role);
  if (error.sqlstate == "42501") return "; grant this role its part with byoc.grant_dispatcher(role)";
  return "";
}

void Handshake::give_up(const DbError& error) {
  if (error.connection_lost) return;  // the connection reports it and comes back by itself
  report(error.text() + advice(error));
  connection_.refuse(error.transient() ? 1s : slow_retry);
}

void Handshake::report(const std::string& message) {
  if (message == last_report_) return;
  last_report_ = message;
  log::error("database session '{}' cannot be used: {}; trying again", label_, message);
}

}  // namespace byocd
