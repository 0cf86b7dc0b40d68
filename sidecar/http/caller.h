// One request after the other, for commands that do one thing at a time. The daemon uses CurlClient.
#pragma once

#include <chrono>

#include "client.h"

namespace byocd {

class HttpCaller {
 public:
  explicit HttpCaller(std::chrono::milliseconds request_timeout);

  /// Blocks until the answer, or its absence.
  HttpResult call(HttpRequest request);

 private:
  Loop loop_;
  CurlClient client_;
};

}  // namespace byocd
