// The HTTP server (evhttp) on the event loop.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "../loop.h"
#include "health.h"

struct evhttp;
struct evhttp_request;

namespace byocd {

/// Serves fixed paths. Everything else is answered 404, other methods 405, both as problem documents.
class Server {
 public:
  using Handler = std::function<ApiAnswer()>;

  /// Throws std::runtime_error when the address cannot be listened on. Port 0 takes a free one.
  Server(Loop& loop, const std::string& host, int port);

  /// Answers GET and HEAD on `path`.
  void get(const std::string& path, Handler handler) { handlers_[path] = std::move(handler); }

  int port() const { return port_; }

 private:
  struct Free {
    void operator()(evhttp* http) const;
  };

  static void on_request(evhttp_request* request, void* self);
  ApiAnswer answer(evhttp_request* request) const;

  std::unique_ptr<evhttp, Free> http_;
  std::map<std::string, Handler> handlers_;
  int port_ = 0;
};

}  // namespace byocd
