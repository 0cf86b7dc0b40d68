#include "server_search.h"

#include <arpa/inet.h>
#include <fmt/ranges.h>
#include <libpq-fe.h>

#include <algorithm>
#include <array>
#include <utility>

namespace byocd {

namespace {

using namespace std::chrono_literals;

// Longer than a server nearby takes, and too short to be missed.
constexpr auto patience = 250ms;
// A standby may have been promoted by then.
constexpr auto refused_for = 500ms;

bool is_name(const DatabaseServer& server) {
  std::array<unsigned char, sizeof(in6_addr)> address;
  return server.hostaddr.empty() && !server.host.empty() && server.host[0] != '/' && server.host[0] != '@' &&
         inet_pton(AF_INET, server.host.c_str(), address.data()) != 1 &&
         inet_pton(AF_INET6, server.host.c_str(), address.data()) != 1;
}

std::string place_of(const DatabaseServer& server) {
  return (server.host.empty() ? server.hostaddr : server.host) + " " + server.port;
}

ConnectionHandle begin_connection(const Database& database, bool any, const DatabaseServer& server) {
  // Entries before dbname can be overridden by it, those after it cannot. A dead peer shows within about 20 s.
  const std::array<const char*, 12> keys{"keepalives_idle", "keepalives_interval", "keepalives_count",
                                         "tcp_user_timeout", "dbname", "host", "hostaddr", "port", "client_encoding",
                                         "application_name",
                                         // Nobody else will do who is asked to write.
                                         any && !database.pooled ? "target_session_attrs" : nullptr, nullptr};
  const std::array<const char*, 12> values{"10",
                                           "3",
                                           "3",
                                           "20000",
                                           database.conninfo.c_str(),
                                           server.host.c_str(),
                                           server.hostaddr.c_str(),
                                           server.port.c_str(),
                                           "UTF8",
                                           "byocd",
                                           "primary",
                                           nullptr};
  return ConnectionHandle(PQconnectStartParams(keys.data(), values.data(), 1));
}

// libpq's messages are lines: the first says what happened, later ones guess.
std::string reason_of(PGconn* connection) {
  const std::string_view all = PQerrorMessage(connection);
  return std::string(all.substr(0, all.find('\n')));
}

}  // namespace

void FinishConnection::operator()(pg_conn* connection) const {
  PQfinish(connection);
}

std::string place_of(pg_conn* connection) {
  const auto text = [](const char* value) { return std::string(value != nullptr ? value : ""); };
  return text(PQhost(connection)) + " " + text(PQport(connection));
}

ServerSearch::ServerSearch(Loop& loop, Resolver& resolver, const Database& database)
    : resolver_(resolver), loop_(loop), database_(database), next_timer_(loop.make_timer([this] { next(); })) {}

ServerSearch::~ServerSearch() = default;

void ServerSearch::start(const std::string& avoided, Callback callback) {
  stop();
  auto servers = servers_of(database_.conninfo);
  any_ = servers.any;
  if (!avoided.empty()) {
    // Without a choice there is no other server, whatever libpq calls the only one.
    if (servers.list.size() == 1) servers.list.clear();
    std::erase_if(servers.list, [&](const DatabaseServer& server) { return place_of(server) == avoided; });
  }
  untried_.assign(servers.list.begin(), servers.list.end());
  reasons_.clear();
  callback_ = std::move(callback);
  next_timer_->start(0us);
}

void ServerSearch::stop() {
  next_timer_->stop();
  trials_.clear();
  untried_.clear();
  refused_.clear();
  callback_ = nullptr;
}

void ServerSearch::next() {
  next_timer_->stop();
  if (untried_.empty()) {
    if (trials_.empty()) return end(fail(fmt::format("{}", fmt::join(reasons_, "; "))));
    untried_.swap(refused_);
    if (!untried_.empty()) next_timer_->start(refused_for);
    return;
  }
  next_timer_->start(patience);
  const DatabaseServer server = std::move(untried_.front());
  untried_.pop_front();
  if (is_name(server)) return resolve(server);
  connect(server);
}

void ServerSearch::resolve(const DatabaseServer& server) {
  const auto trial = trials_.insert(trials_.end(), Trial{server, nullptr, nullptr, nullptr});
  trial->lookup = resolver_.resolve(server.host, [this, trial, server](const Addresses& addresses) {
    if (!addresses) return give_up(trial, fmt::format("host name {}: {}", server.host, addresses.error()));
    trials_.erase(trial);
    std::vector<DatabaseServer> found;
    for (const auto& address : *addresses) found.push_back({server.host, address, server.port});
    untried_.insert(untried_.begin(), found.begin(), found.end());
    next();
  });
}

void ServerSearch::connect(const DatabaseServer& server) {
  const auto trial = trials_.insert(trials_.end(), Trial{server, nullptr, nullptr, nullptr});
  trial->connection = begin_connection(database_, any_, server);
  if (!trial->connection) return give_up(trial, "no memory for a connection");
  if (PQstatus(trial->connection.get()) == CONNECTION_BAD) return give_up(trial, reason_of(trial->connection.get()));
  watch(trial, {false, true});  // libpq asks to wait for writing before the first poll
}

// The socket may be closed and another opened with the same number (TLS refused), so the watch never lives across a
// poll.
void ServerSearch::watch(Trials::iterator trial, SocketEvents events) {
  trial->watch = loop_.watch_socket(PQsocket(trial->connection.get()), [this, trial](SocketEvents) { poll(trial); });
  trial->watch->watch(events);
}

void ServerSearch::poll(Trials::iterator trial) {
  trial->watch.reset();
  const auto status = PQconnectPoll(trial->connection.get());
  if (status == PGRES_POLLING_FAILED) return give_up(trial, reason_of(trial->connection.get()));
  if (status == PGRES_POLLING_OK) return end(std::move(trial->connection));
  watch(trial, {status == PGRES_POLLING_READING, status == PGRES_POLLING_WRITING});
}

void ServerSearch::give_up(Trials::iterator trial, const std::string& reason) {
  refused_.push_back(trial->server);
  trials_.erase(trial);
  if (std::find(reasons_.begin(), reasons_.end(), reason) == reasons_.end()) reasons_.push_back(reason);
  next();
}

void ServerSearch::end(Result<ConnectionHandle, std::string> result) {
  const Callback callback = std::move(callback_);
  stop();
  callback(std::move(result));
}

}  // namespace byocd
