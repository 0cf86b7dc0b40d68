#include "client.h"

#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <optional>
#include <stdexcept>
#include <utility>

namespace byocd {

namespace {

// So many that were sent do not wait for the end of the loop's turn: their provider has something to do meanwhile.
constexpr std::size_t begun_together = 16;

// Transfers that share a multi handle.
constexpr int most_in_a_pool = 64;

// Nothing: there are no proxies. libcurl would look at the environment for each request.
std::optional<std::string> no_proxy_hosts() {
  const auto is_set = [](const char* variable) {
    const char* value = std::getenv(variable);
    return value != nullptr && *value != '\0';
  };
  const auto variables = {"http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"};
  if (std::none_of(variables.begin(), variables.end(), is_set)) return std::nullopt;
  std::string hosts = "localhost,127.0.0.0/8,::1";
  for (const char* variable : {"no_proxy", "NO_PROXY"})
    if (is_set(variable)) hosts += std::string(",") + std::getenv(variable);
  return hosts;
}

struct CurlGlobal {
  CurlGlobal() {
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) throw std::runtime_error("libcurl cannot start");
  }
};

CURLM* make_multi() {
  // Never cleaned up: other libraries of the process may use OpenSSL until its very end.
  static const CurlGlobal global;
  return curl_multi_init();
}

}  // namespace

CurlClient::CurlClient(Loop& loop, const Options& options)
    : loop_(loop),
      transfer_options_{options.request_timeout, options.user_agent, no_proxy_hosts(),
                        AddressRules(options.allowed_networks),
                        [this](const curl_sockaddr& address) { return open_socket(address); }},
      kept_connections_(options.kept_connections),
      begin_timer_(loop.make_timer([this] { begin_sent(); })) {
  (void)pool_with_room();
}

CurlClient::~CurlClient() {
  for (PooledTransfer* transfer : active_) {
    curl_multi_remove_handle(transfer->pool.multi.get(), transfer->easy());
    delete transfer;
  }
}

CurlClient::Pool& CurlClient::pool_with_room() {
  if (!pools_.empty() && pools_.back()->transfers < most_in_a_pool) return *pools_.back();
  auto pool = std::make_unique<Pool>(Pool{*this, nullptr, nullptr});
  Pool& added = *pool;
  added.timer = loop_.make_timer([this, &added] { act(added, CURL_SOCKET_TIMEOUT, 0); });
  added.multi.reset(make_multi());
  CURLM* multi = added.multi.get();
  if (!multi) throw std::runtime_error("no memory for libcurl");
  curl_multi_setopt(multi, CURLMOPT_SOCKETFUNCTION, &CurlClient::on_socket);
  curl_multi_setopt(multi, CURLMOPT_SOCKETDATA, &added);
  curl_multi_setopt(multi, CURLMOPT_TIMERFUNCTION, &CurlClient::on_timer);
  curl_multi_setopt(multi, CURLMOPT_TIMERDATA, &added);
  curl_multi_setopt(multi, CURLMOPT_MAXCONNECTS, static_cast<long>(std::min(kept_connections_, most_in_a_pool)));
#if LIBCURL_VERSION_NUM >= 0x081400
  // All lookups share these threads. A silent name server takes two for each request, for longer than the request
  // lives: by default there are 20, and those of a tenant could keep everybody from the providers' names. As many as it
  // takes.
  curl_multi_setopt(multi, CURLMOPT_RESOLVE_THREADS_MAX, 1'000L);
  // In place of CURLOPT_QUICK_EXIT.
  curl_multi_setopt(multi, CURLMOPT_QUICK_EXIT, 1L);
#endif
  pools_.push_back(std::move(pool));
  return added;
}

void CurlClient::send(HttpRequest request, HttpCallback callback) {
  std::unique_ptr<PooledTransfer> transfer;
  if (idle_.empty()) {
    transfer = make_transfer();
  } else {
    transfer = std::move(idle_.back());
    idle_.pop_back();
  }
  // What is asked for (lists, a message's status) has another URL each time.
  auto url = request.method == HttpRequest::Method::post ? urls_.get(request.url) : nullptr;
  transfer->start(std::move(request), std::move(url), std::move(callback));
  sent_.push_back(transfer.get());
  active_.insert(transfer.release());
  // What this turn of the loop brings is begun together, not each as the answer before it is read: a provider that is
  // as fast as we are would have to be woken for every one.
  if (!begin_timer_->pending()) begin_timer_->start(std::chrono::microseconds(0));
}

void CurlClient::flush() {
  // Not from within libcurl, and not while results are being handed out: the timer does it then.
  if (!acting_) begin_sent();
}

void CurlClient::begin_sent() {
  begin_timer_->stop();
  acting_ = true;
  do begin_all_sent();
  while (sent_.size() >= begun_together);
  acting_ = false;
}

void CurlClient::begin_all_sent() {
  std::unordered_set<Pool*> begun;
  for (PooledTransfer* transfer : std::exchange(sent_, {})) {
    curl_multi_add_handle(transfer->pool.multi.get(), transfer->easy());
    begun.insert(&transfer->pool);
  }
  for (Pool* pool : begun) step(*pool, CURL_SOCKET_TIMEOUT, 0);
}

void CurlClient::cancel_all() {
  sent_.clear();
  for (const auto active = active_; PooledTransfer * transfer : active) {
    curl_multi_remove_handle(transfer->pool.multi.get(), transfer->easy());
    deliver(transfer, CURLE_ABORTED_BY_CALLBACK, true);
  }
}

void CurlClient::act(Pool& pool, curl_socket_t fd, int events) {
  acting_ = true;
  step(pool, fd, events);
  while (sent_.size() >= begun_together) begin_all_sent();
  acting_ = false;
}

void CurlClient::step(Pool& pool, curl_socket_t fd, int events) {
  int running = 0;
  curl_multi_socket_action(pool.multi.get(), fd, events, &running);
  deliver_finished(pool);
}

void CurlClient::deliver_finished(Pool& pool) {
  int left = 0;
  while (const CURLMsg* message = curl_multi_info_read(pool.multi.get(), &left)) {
    if (message->msg != CURLMSG_DONE) continue;
    const CURLcode code = message->data.result;
    CURL* easy = message->easy_handle;
    Transfer* transfer = nullptr;
    curl_easy_getinfo(easy, CURLINFO_PRIVATE, &transfer);
    curl_multi_remove_handle(pool.multi.get(), easy);  // `message` is gone after this
    deliver(static_cast<PooledTransfer*>(transfer), code, false);
  }
}

void CurlClient::deliver(PooledTransfer* transfer, CURLcode code, bool cancelled) {
  if (active_.erase(transfer) == 0) return;
  idle_.emplace_back(transfer);
  const HttpCallback callback = transfer->take_callback();
  callback(transfer->finish(code, cancelled));
}

std::unique_ptr<CurlClient::PooledTransfer> CurlClient::make_transfer() {
  Pool& pool = pool_with_room();
  auto transfer = std::make_unique<PooledTransfer>(transfer_options_, pool);
  ++pool.transfers;
  CURL* easy = transfer->easy();
  curl_easy_setopt(easy, CURLOPT_CLOSESOCKETFUNCTION, &CurlClient::on_close);
  curl_easy_setopt(easy, CURLOPT_CLOSESOCKETDATA, this);
  return transfer;
}

CurlClient::Socket& CurlClient::socket(curl_socket_t fd) {
  Socket& socket = sockets_[fd];
  if (!socket.watch) socket.watch = loop_.watch_socket(fd, [this, fd](SocketEvents events) { on_ready(fd, events); });
  return socket;
}

void CurlClient::on_ready(curl_socket_t fd, SocketEvents events) {
  Socket& ready = socket(fd);
  // The peer closed an idle connection, say: libcurl will see that when it next wants to use it.
  if (!ready.in_use) return ready.watch->watch({});
  act(*ready.in_use, fd, (events.read ? CURL_CSELECT_IN : 0) | (events.write ? CURL_CSELECT_OUT : 0));
}

curl_socket_t CurlClient::open_socket(const curl_sockaddr& address) {
  const int fd = ::socket(address.family, address.socktype | SOCK_CLOEXEC, address.protocol);
  if (fd < 0) return CURL_SOCKET_BAD;
  socket(fd).ours = true;
  return fd;
}

int CurlClient::on_close(void* self, curl_socket_t fd) {
  static_cast<CurlClient*>(self)->sockets_.erase(fd);  // before the number can be another socket's
  return close(fd);
}

int CurlClient::on_socket(CURL*, curl_socket_t fd, int what, void* self, void*) {
  auto& pool = *static_cast<Pool*>(self);
  Socket& socket = pool.client.socket(fd);
  socket.in_use = what == CURL_POLL_REMOVE ? nullptr : &pool;
  if (socket.in_use)
    socket.watch->watch({(what & CURL_POLL_IN) != 0, (what & CURL_POLL_OUT) != 0});
  else if (!socket.ours)
    pool.client.sockets_.erase(fd);
  return 0;
}

int CurlClient::on_timer(CURLM*, long timeout_ms, void* self) {
  auto& pool = *static_cast<Pool*>(self);
  if (timeout_ms < 0)
    pool.timer->stop();
  else
    pool.timer->start(std::chrono::milliseconds(timeout_ms));
  return 0;
}

}  // namespace byocd
