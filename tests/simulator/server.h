/// The HTTP server: evhttp underneath, and the ways of answering badly that evhttp does not offer.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <unordered_map>

#include "event_handles.h"
#include "http.h"
#include "statistics.h"

namespace simulator {

class server {
 public:
  using handler = std::function<answer(const request&)>;

  /// Answers every request with what `handle` returns for it.
  server(event_base* base, statistics& stats, handler handle);
  ~server();
  server(const server&) = delete;
  server& operator=(const server&) = delete;

  /// Listens on the IPv4 address `host`; port 0 takes a free one from 20000 to 32767, below the range that the kernel
  /// hands out to clients. Returns the port. Throws std::runtime_error when it cannot.
  std::uint16_t listen(const std::string& host, std::uint16_t port);

  /// Sends the answers of manner::held that wait.
  void release_held();

 private:
  struct exchange;

  void on_request(evhttp_request* req);
  void answer_now(evhttp_request* req, const answer& result);
  void hold(evhttp_request* req, answer result);
  void carry_out(exchange& held);
  void dribble(exchange& held);
  void close_connection(exchange& held);
  void forget(exchange& held);

  event_base* base_;
  statistics& stats_;
  handler handle_;
  // Before http_: freeing evhttp closes connections, which still report to their exchanges.
  std::unordered_map<exchange*, std::unique_ptr<exchange>> held_;
  evhttp_handle http_;
};

}  // namespace simulator
