// The HTTP client on the event loop: libcurl's multi interface, HTTP/1.1 with kept connections.
#pragma once

#include <curl/curl.h>

#include <memory>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "../loop.h"
#include "request.h"
#include "transfer.h"

namespace byocd {

/// Tells for each failure whether the request may have reached the peer. A request is never sent twice.
/// Proxies come from the environment (https_proxy, ...), but never for loopback addresses.
class CurlClient final : public HttpClient {
 public:
  struct Options {
    std::chrono::milliseconds request_timeout{10'000};
    /// How many idle connections are kept of each 64 requests at a time: as many as there are slots.
    int kept_connections = 64;
    std::string user_agent = "byocd";
    /// Networks that URLs of tenants may lead into besides public addresses.
    std::vector<Network> allowed_networks{};
  };

  /// Throws std::runtime_error when libcurl cannot start.
  CurlClient(Loop& loop, const Options& options);
  ~CurlClient() override;

  void send(HttpRequest request, HttpCallback callback) override;
  void flush() override;
  void cancel_all() override;

 private:
  struct MultiFree {
    void operator()(CURLM* multi) const { curl_multi_cleanup(multi); }
  };

  // libcurl looks at a multi handle's connections one by one to find a free one. So no more than 64 transfers share a
  // multi handle and its connections.
  struct Pool {
    CurlClient& client;
    std::unique_ptr<Timer> timer;
    std::unique_ptr<CURLM, MultiFree> multi;
    int transfers = 0;
  };
  struct PooledTransfer : Transfer {
    PooledTransfer(const Options& options, Pool& pool) : Transfer(options), pool(pool) {}
    Pool& pool;
  };

  // One that libcurl waits for, or an idle connection: those stay watched, because the next request comes soon.
  struct Socket {
    std::unique_ptr<SocketWatch> watch;
    // Opened by open_socket, so on_close tells when it is gone. Of others libcurl's last word is CURL_POLL_REMOVE.
    bool ours = false;
    Pool* in_use = nullptr;  // by whom
  };

  static int on_close(void* self, curl_socket_t fd);
  static int on_socket(CURL* easy, curl_socket_t fd, int what, void* pool, void* watch);
  static int on_timer(CURLM* multi, long timeout_ms, void* pool);
  Pool& pool_with_room();
  std::unique_ptr<PooledTransfer> make_transfer();
  curl_socket_t open_socket(const curl_sockaddr& address);
  Socket& socket(curl_socket_t fd);
  void on_ready(curl_socket_t fd, SocketEvents events);
  void act(Pool& pool, curl_socket_t fd, int events);
  void begin_sent();
  void begin_all_sent();
  void step(Pool& pool, curl_socket_t fd, int events);
  void deliver_finished(Pool& pool);
  void deliver(PooledTransfer* transfer, CURLcode code, bool cancelled);

  Loop& loop_;
  Transfer::Options transfer_options_;
  int kept_connections_;
  ParsedUrls urls_;
  std::unique_ptr<Timer> begin_timer_;
  std::unordered_map<curl_socket_t, Socket> sockets_;
  std::unordered_set<PooledTransfer*> active_;
  std::vector<PooledTransfer*> sent_;  // those of them that libcurl does not know yet
  std::vector<std::unique_ptr<PooledTransfer>> idle_;
  bool acting_ = false;
  // Last, so that they go first: their clean-up calls on_socket and on_close, and the easy handles must be out of them
  // by then.
  std::vector<std::unique_ptr<Pool>> pools_;
};

}  // namespace byocd
