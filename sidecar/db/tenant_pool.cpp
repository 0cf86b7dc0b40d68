#include "tenant_pool.h"

#include <algorithm>
#include <utility>

#include "../log.h"

namespace byocd {

namespace {

using namespace std::chrono_literals;

// More than a second's worth; what comes on top is told to come again.
constexpr std::size_t most_waiting = 256;
// Who asked has given up by then.
constexpr auto longest_wait = 5s;

constexpr Statement authenticate{"authenticate", "SELECT byoc.authenticate($1)"};

DbError overloaded() {
  return {"53300", "more requests wait for the database than can be taken", "", false, ""};
}

}  // namespace

TenantPool::Session::Session(Loop& loop, const Options& options, int number)
    : connection(loop, "tenants " + std::to_string(number), options.database),
      handshake(connection, loop, "tenants " + std::to_string(number), {.tenant_role = options.role}) {}

TenantPool::TenantPool(Loop& loop, const Options& options)
    : loop_(loop), refused_timer_(loop.make_timer([this] {
        for (auto callbacks = std::exchange(refused_, {}); auto& callback : callbacks) callback(fail(overloaded()));
      })) {
  for (int i = 0; !options.role.empty() && i < options.connections; ++i) {
    sessions_.push_back(std::make_unique<Session>(loop, options, i + 1));
    Session& session = *sessions_.back();
    Connection::Handlers handlers;
    handlers.on_session = [&session] { session.handshake.run(); };
    handlers.on_ready = [this] { serve(); };
    handlers.on_lost = [this, &session] {
      session.handshake.reset();
      session.busy = false;
      serve();
    };
    session.connection.set_handlers(std::move(handlers));
  }
}

TenantPool::~TenantPool() = default;

void TenantPool::open() {
  for (auto& session : sessions_) session->connection.open();
}

void TenantPool::close() {
  for (auto& session : sessions_) session->connection.close();
}

void TenantPool::run(const SecretString& token, const Statement& statement, Params params, QueryCallback callback) {
  if (waiting_.size() >= most_waiting) return refuse_later(std::move(callback));
  waiting_.push_back({token.copy(), statement, std::move(params), std::move(callback), loop_.now()});
  serve();
}

void TenantPool::refuse_later(QueryCallback callback) {
  refused_.push_back(std::move(callback));
  refused_timer_->start(0us);
}

TenantPool::Session* TenantPool::free_session() {
  for (auto& session : sessions_)
    if (!session->busy && session->connection.ready()) return session.get();
  return nullptr;
}

bool TenantPool::any_ready() const {
  return std::any_of(sessions_.begin(), sessions_.end(),
                     [](const auto& session) { return session->connection.ready(); });
}

void TenantPool::serve() {
  while (!waiting_.empty()) {
    Session* session = free_session();
    const bool refused = loop_.now() - waiting_.front().since > longest_wait || !any_ready();
    if (!refused && !session) return;
    // Out of the queue before it is started: a connection that is lost right then calls this again.
    Request request = std::move(waiting_.front());
    waiting_.pop_front();
    if (refused)
      refuse_later(std::move(request.callback));
    else
      start(*session, std::move(request));
  }
}

void TenantPool::start(Session& session, Request request) {
  session.busy = true;
  session.connection.transaction({{authenticate, {request.token.reveal()}}}, request.statement,
                                 std::move(request.params),
                                 [this, &session, callback = std::move(request.callback)](QueryResult result) {
                                   // One that is about to be lost takes no other.
                                   session.busy = !result && result.error().connection_lost;
                                   callback(std::move(result));
                                   serve();
                                 });
}

}  // namespace byocd
