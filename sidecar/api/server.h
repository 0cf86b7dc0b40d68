// The HTTP server (evhttp) on the event loop.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "../loop.h"
#include "router.h"

struct evhttp;
struct evhttp_connection;
struct evhttp_request;

namespace byocd {

/// Serves routes. Handlers may answer later; a request whose body is over 64 KiB is answered 413 and reaches none.
/// Every error is a problem document.
class Server {
 public:
  /// Throws std::runtime_error when the address cannot be listened on. Port 0 takes a free one.
  Server(Loop& loop, const std::string& host, int port);

  /// As Router::add. Handlers see no request before the loop runs.
  void route(std::string method, std::string path, Router::Handler handler) {
    router_.add(std::move(method), std::move(path), std::move(handler));
  }
  /// Answers GET and HEAD on `path` at once.
  void get(std::string path, std::function<ApiAnswer()> handler);

  int port() const { return port_; }

 private:
  struct Free {
    void operator()(evhttp* http) const;
  };
  /// A request that was not answered yet.
  struct Pending {
    Server* server;
    evhttp_request* request;
  };
  using PendingPtr = std::shared_ptr<Pending>;

  static void on_request(evhttp_request* request, void* self);
  static void on_close(evhttp_connection* connection, void* pending);
  void serve(evhttp_request* request);
  void answer(const std::weak_ptr<Pending>& pending, const ApiAnswer& answer);
  void send(evhttp_request* request, const ApiAnswer& answer);

  Router router_;
  std::map<Pending*, PendingPtr> pending_;
  int port_ = 0;
  std::unique_ptr<evhttp, Free> http_;  // goes first: it closes connections, which ends what is pending
};

}  // namespace byocd
