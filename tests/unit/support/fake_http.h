// An HTTP client that answers when the test says so.
#pragma once

#include <deque>

#include "http/request.h"

namespace byocd {

class FakeHttp final : public HttpClient {
 public:
  struct Call {
    HttpRequest request;
    HttpCallback callback;
  };

  void send(HttpRequest request, HttpCallback callback) override {
    calls.push_back({std::move(request), std::move(callback)});
  }
  void flush() override { ++flushes; }
  void cancel_all() override {
    while (!calls.empty()) answer(fail(HttpFailure{HttpFailure::Kind::cancelled, true, "broken off"}));
  }

  /// Answers the oldest request and gives it back.
  HttpRequest answer(HttpResult result) {
    Call call = std::move(calls.front());
    calls.pop_front();
    call.callback(std::move(result));
    return std::move(call.request);
  }
  HttpRequest answer(int status, std::string body) {
    HttpResponse response;
    response.status = status;
    response.body = std::move(body);
    return answer(HttpResult(std::move(response)));
  }

  std::deque<Call> calls;
  int flushes = 0;
};

}  // namespace byocd
