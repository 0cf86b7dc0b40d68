#include "caller.h"

#include <optional>

namespace byocd {

HttpCaller::HttpCaller(std::chrono::milliseconds request_timeout)
    : client_(loop_, CurlClient::Options{request_timeout, 1, "byocd"}) {}

HttpResult HttpCaller::call(HttpRequest request) {
  std::optional<HttpResult> answer;
  client_.send(std::move(request), [&](HttpResult result) {
    answer.emplace(std::move(result));
    loop_.stop();
  });
  while (!answer) loop_.run();
  return std::move(*answer);
}

}  // namespace byocd
