// The HTTP server (evhttp) on the event loop.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "../loop.h"
#include "connection_limit.h"
#include "cors.h"
#include "router.h"

struct evhttp;
struct evhttp_connection;
struct evhttp_request;

namespace byocd {

/// Serves routes. Handlers may answer later; a request whose body is over 64 KiB is answered 413 and reaches none.
/// Every error is a problem document. No more than 512 clients are connected: the oldest that is idle makes room.
class Server {
 public:
  /// Throws std::runtime_error when the address cannot be listened on. Port 0 takes a free one.
  /// `allowed_origins`: see Cors.
  Server(Loop& loop, const std::string& host, int port, std::vector<std::string> allowed_origins = {});

  /// Handlers see no request before the loop runs.
  Router& router() { return router_; }
  /// As Router::add.
  void route(std::string method, std::string path, Router::Handler handler) {
    router_.add(std::move(method), std::move(path), std::move(handler));
  }
  /// `observer` is told of every answer: the request, and the pattern of its route, empty when it has none.
  using Observer = std::function<void(const ApiRequest&, std::string_view route, int status)>;
  void observe(Observer observer) { observer_ = std::move(observer); }
  /// Answers GET and HEAD on `path` at once.
  void get(std::string path, std::function<ApiAnswer()> handler);

  int port() const { return port_; }

 private:
  struct Free {
    void operator()(evhttp* http) const;
  };
  /// A request whose answer was not given yet, or goes on.
  struct Pending {
    Server* server;
    evhttp_request* request;
    ApiRequest read;
    std::shared_ptr<AnswerStream> stream;
  };
  using PendingPtr = std::shared_ptr<Pending>;

  static void on_request(evhttp_request* request, void* self);
  static void on_close(evhttp_connection* connection, void* pending);
  static bufferevent* on_accept(event_base* base, void* self);
  void serve(evhttp_request* request);
  void answer(const std::weak_ptr<Pending>& pending, ApiAnswer answer);
  void send(evhttp_request* request, const ApiRequest& read, ApiAnswer answer);
  void start_stream(const PendingPtr& pending, const ApiAnswer& answer);
  static void write(const std::weak_ptr<Pending>& pending, std::string_view text);
  void end_stream(const std::weak_ptr<Pending>& pending);

  Router router_;
  Cors cors_;
  Observer observer_;
  ConnectionLimit connections_;
  std::map<Pending*, PendingPtr> pending_;
  int port_ = 0;
  std::unique_ptr<evhttp, Free> http_;  // goes first: it closes connections, which ends what is pending
};

}  // namespace byocd
