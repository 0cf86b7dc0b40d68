#include "connection.h"

#include <libpq-fe.h>

#include <algorithm>

#include "../log.h"

namespace byocd {

namespace {

using namespace std::chrono_literals;

constexpr auto connect_timeout = 10s;
// No call of the sidecar takes this long; a peer that is gone without a word is found out by it.
constexpr auto query_timeout = 45s;
constexpr std::chrono::milliseconds first_backoff = 100ms;
constexpr std::chrono::milliseconds longest_backoff = 500ms;
// A query that takes longer makes us look, this often, whether another server has taken over.
constexpr std::chrono::milliseconds successor_interval = 1s;

// Notices are for psql's users; libpq would print them on standard error.
void on_notice(void*, const char* message) {
  log::debug("database: {}", first_line(message));
}

std::string field(const PGresult* result, int code) {
  return first_line(PQresultErrorField(result, code));
}

DbError error_of(const PGresult* result) {
  return {field(result, PG_DIAG_SQLSTATE), field(result, PG_DIAG_MESSAGE_PRIMARY), field(result, PG_DIAG_MESSAGE_HINT),
          false, field(result, PG_DIAG_COLUMN_NAME)};
}

DbError lost_error() {
  return {"", "the database connection is not there", "", true};
}

// Class 57P: the server is shutting down, or crashed, and ends the session itself.
bool ends_session(const DbError& error) {
  return error.sqlstate.rfind("57P0", 0) == 0;
}

// The function was replaced by an upgrade; only a new session plans it anew and checks the version again.
bool stale_plan(const DbError& error) {
  return error.sqlstate == "0A000";
}

// A prepared statement is not where it was prepared, or is where it was not: this is not the session that it was.
bool changed_session(const DbError& error) {
  return error.sqlstate == "26000" || error.sqlstate == "42P05";
}

// This server may not write (any more), whatever it was when the session began.
bool is_standby(const DbError& error) {
  return error.sqlstate == "25006";
}

}  // namespace

Connection::Connection(Loop& loop, std::string label, Database database)
    : loop_(loop),
      label_(std::move(label)),
      database_(std::move(database)),
      resolver_(loop, database_.lookup),
      search_(loop, resolver_, database_),
      retry_timer_(loop.make_timer([this] { connect(); })),
      deadline_timer_(loop.make_timer([this] { lose("no answer in time"); })),
      successor_timer_(loop.make_timer([this] { look_for_successor(); })),
      refused_timer_(loop.make_timer([this] {
        for (auto callbacks = std::exchange(refused_, {}); auto& callback : callbacks) callback(fail(lost_error()));
      })) {}

Connection::~Connection() {
  watch_.reset();
}

void Connection::open() {
  if (state_ == State::closed) connect();
}

void Connection::close() {
  retry_timer_->stop();
  lose("closed");
  retry_timer_->stop();
  state_ = State::closed;
}

void Connection::accept() {
  if (state_ != State::handshake) return;
  state_ = State::ready;
  backoff_ = 0ms;
  last_reason_.clear();
  if (database_.observer) database_.observer->on_connected(label_);
  if (handlers_.on_ready) handlers_.on_ready();
}

void Connection::refuse(std::chrono::milliseconds delay) {
  lose("", delay);
}

void Connection::transaction(Preamble ahead, const Statement& statement, Params params, QueryCallback callback) {
  if (state_ != State::ready && state_ != State::handshake) return fail_later(std::move(callback));
  queue_.push_back(Pending{std::move(ahead), statement, std::move(params), std::move(callback)});
  if (!busy_) start_next();
}

void Connection::fail_later(QueryCallback callback) {
  refused_.push_back(std::move(callback));
  refused_timer_->start(0us);
}

void Connection::connect() {
  state_ = State::connecting;
  deadline_timer_->start(connect_timeout);
  search_.start("", [this](auto result) { on_connected(std::move(result)); });
}

void Connection::on_connected(Result<ConnectionHandle, std::string> result) {
  if (!result) return lose(result.error());
  connection_ = std::move(*result);
  deadline_timer_->stop();
  PQsetnonblocking(connection_.get(), 1);
  PQsetNoticeProcessor(connection_.get(), &on_notice, nullptr);
  watch_ = loop_.watch_socket(PQsocket(connection_.get()), [this](SocketEvents events) { on_socket(events); });
  watch_->watch({true, false});
  state_ = State::handshake;
  handlers_.on_session ? handlers_.on_session() : accept();
}

// A server that hangs, or is gone without a word, would keep us for as long as a query may take.
void Connection::look_for_successor() {
  search_.start(place_of(connection_.get()), [this](const auto& result) {
    if (result) return lose("no answer, and another server has taken over", 0ms);
    successor_timer_->start(successor_interval);
  });
}

void Connection::on_socket(SocketEvents events) {
  if (events.read) read_answers();
  if (connection_ && events.write) flush();
}

void Connection::read_answers() {
  if (PQconsumeInput(connection_.get()) == 0) return lose(first_line(PQerrorMessage(connection_.get())));
  // Callbacks may send the next query or close the connection.
  while (connection_ && busy_ && PQisBusy(connection_.get()) == 0) {
    PGresult* raw = PQgetResult(connection_.get());
    Rows rows(raw);
    // Within a pipeline each statement's answer has an end, and then so has the pipeline.
    const bool ended =
        in_pipeline(queue_.front()) ? raw != nullptr && PQresultStatus(raw) == PGRES_PIPELINE_SYNC : raw == nullptr;
    if (ended)
      finish_query();
    else if (raw != nullptr)
      take_answer(raw, std::move(rows));
    else if (PQstatus(connection_.get()) == CONNECTION_BAD)
      break;  // the end of the pipeline never comes
  }
  while (connection_) {
    const std::unique_ptr<PGnotify, decltype(&PQfreemem)> notification(PQnotifies(connection_.get()), &PQfreemem);
    if (!notification) break;
    if (handlers_.on_notification) handlers_.on_notification(notification->relname, notification->extra);
  }
  if (connection_ && PQstatus(connection_.get()) == CONNECTION_BAD) lose(first_line(PQerrorMessage(connection_.get())));
}

// The last statement's, or the first error.
void Connection::take_answer(const pg_result* raw, Rows rows) {
  const auto status = PQresultStatus(raw);
  if (answer_ && !answer_->ok()) return;
  if (status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK)
    answer_.emplace(std::move(rows));
  else
    answer_.emplace(fail(error_of(raw)));
}

void Connection::finish_query() {
  PQexitPipelineMode(connection_.get());  // does nothing outside
  Pending done = std::move(queue_.front());
  queue_.pop_front();
  busy_ = false;
  QueryResult answer = answer_ ? std::move(*answer_) : QueryResult(fail(lost_error()));
  answer_.reset();
  deadline_timer_->stop();
  successor_timer_->stop();
  search_.stop();
  if (database_.observer && !done.preparing)
    database_.observer->on_call(done.statement.name, loop_.now() - done.since, answer.ok());

  if (!answer.ok() && (ends_session(answer.error()) || stale_plan(answer.error()) || changed_session(answer.error()) ||
                       is_standby(answer.error()) || answer.error().sqlstate.empty())) {
    std::string reason = answer.error().text();
    if (changed_session(answer.error()))
      reason += "; a pooler in transaction mode belongs into pooled-database-url, the server itself into database-url";
    answer.error().connection_lost = true;
    done.callback(std::move(answer));
    return lose(reason);
  }
  if (done.preparing && answer.ok()) {
    prepared_.insert(std::exchange(done.preparing, nullptr));
    queue_.push_front(std::move(done));
    return start_next();
  }
  done.callback(std::move(answer));
  if (!busy_) start_next();
}

void Connection::start_next() {
  if (busy_ || queue_.empty() || !connection_) return;
  busy_ = true;
  queue_.front().since = loop_.now();
  if (!send(queue_.front())) return lose(first_line(PQerrorMessage(connection_.get())));
  deadline_timer_->start(query_timeout);
  // Any pooler lets us in, whichever server is behind it.
  if (!database_.pooled) successor_timer_->start(successor_interval);
  flush();
}

namespace {

// Parameters as libpq takes them.
struct RawParams {
  explicit RawParams(const Params& params, Format format) : formats(params.size(), format == Format::binary ? 1 : 0) {
    for (const auto& param : params) {
      values.push_back(param ? param->c_str() : nullptr);
      lengths.push_back(param ? static_cast<int>(param->size()) : 0);
    }
  }
  int count() const { return static_cast<int>(values.size()); }

  std::vector<const char*> values;
  std::vector<int> lengths;
  std::vector<int> formats;
};

int answer_format(const Statement& statement) {
  return statement.answer == Format::binary ? 1 : 0;
}

}  // namespace

// A preparation goes alone.
bool Connection::in_pipeline(const Pending& pending) const {
  return !pending.preparing && (database_.pooled || !pending.ahead.empty());
}

// The first one that the session does not know yet.
const Statement* Connection::unprepared(const Pending& pending) const {
  if (database_.pooled) return nullptr;
  const auto is_new = [this](const Statement& statement) { return prepared_.count(statement.name) == 0; };
  for (const auto& [statement, params] : pending.ahead)
    if (is_new(statement)) return &statement;
  return is_new(pending.statement) ? &pending.statement : nullptr;
}

bool Connection::send_call(const Statement& statement, const Params& params) {
  const RawParams raw(params, statement.params);
  if (database_.pooled)
    return PQsendQueryParams(connection_.get(), statement.sql, raw.count(), nullptr, raw.values.data(),
                             raw.lengths.data(), raw.formats.data(), answer_format(statement)) == 1;
  return PQsendQueryPrepared(connection_.get(), statement.name, raw.count(), raw.values.data(), raw.lengths.data(),
                             raw.formats.data(), answer_format(statement)) == 1;
}

// Up to the sync everything is one transaction.
bool Connection::send_pipeline(const Pending& pending) {
  PQenterPipelineMode(connection_.get());
  if (preamble_)
    for (const auto& [statement, params] : preamble_())
      if (!send_call(statement, params)) return false;
  for (const auto& [statement, params] : pending.ahead)
    if (!send_call(statement, params)) return false;
  return send_call(pending.statement, pending.params) && PQpipelineSync(connection_.get()) == 1;
}

bool Connection::send(Pending& pending) {
  if (const Statement* statement = unprepared(pending)) {
    pending.preparing = statement->name;
    return PQsendPrepare(connection_.get(), statement->name, statement->sql, 0, nullptr) == 1;
  }
  return in_pipeline(pending) ? send_pipeline(pending) : send_call(pending.statement, pending.params);
}

void Connection::flush() {
  const int left = PQflush(connection_.get());
  if (left < 0) return lose(first_line(PQerrorMessage(connection_.get())));
  watch_->watch({true, left == 1});
}

void Connection::lose(const std::string& reason, std::optional<std::chrono::milliseconds> retry_after) {
  if (state_ == State::closed) return;
  const bool was_ready = state_ == State::ready;
  state_ = State::waiting;
  deadline_timer_->stop();
  successor_timer_->stop();
  search_.stop();
  watch_.reset();
  connection_.reset();
  prepared_.clear();
  busy_ = false;
  answer_.reset();
  report(reason);

  backoff_ = std::clamp(backoff_ * 2, first_backoff, longest_backoff);
  retry_timer_->start(retry_after.value_or(backoff_));
  for (auto queue = std::exchange(queue_, {}); auto& pending : queue) pending.callback(fail(lost_error()));
  if (was_ready && database_.observer) database_.observer->on_lost(label_);
  if (was_ready && handlers_.on_lost) handlers_.on_lost();
}

void Connection::report(const std::string& reason) {
  // The same failure every few seconds says nothing new.
  if (reason.empty() || reason == "closed" || reason == last_reason_) return;
  last_reason_ = reason;
  log::warn("database connection '{}': {}; trying again", label_, reason);
}

}  // namespace byocd
