// A CurlClient and its loop, for tests that send to a TinyServer.
#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <optional>
#include <string>
#include <utility>

#include "http/client.h"

namespace byocd {

inline const std::string ok_answer = "HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\n{}";

inline HttpResult send_and_wait(Loop& loop, CurlClient& client, HttpRequest request) {
  std::optional<HttpResult> result;
  client.send(std::move(request), [&](HttpResult got) {
    result.emplace(std::move(got));
    loop.stop();
  });
  loop.run();
  return std::move(*result);
}

class CurlClientTest : public testing::Test {
 protected:
  HttpRequest post(const std::string& url, const std::string& body = "Body=hello") {
    HttpRequest request;
    request.method = HttpRequest::Method::post;
    request.url = url;
    request.user = "AC00000000000000000000000000000001";
    request.password = SecretString("made-up");
    request.body = body;
    return request;
  }
  HttpResult send(HttpRequest request) { return send(client, std::move(request)); }
  HttpResult send(CurlClient& client, HttpRequest request) { return send_and_wait(loop, client, std::move(request)); }
  // At once; each is answered.
  void send_many(CurlClient& client, const std::string& url, int many) {
    int answers = 0;
    for (int i = 0; i < many; ++i)
      client.send(post(url), [&](const HttpResult& got) {
        EXPECT_TRUE(got.ok());
        if (++answers == many) loop.stop();
      });
    loop.run();
  }
  HttpFailure failure(const std::string& url) {
    auto result = send(post(url));
    EXPECT_FALSE(result.ok());
    return result.ok() ? HttpFailure{} : result.error();
  }

  Loop loop;
  // Enough for the longest answer on a busy machine, under a sanitizer, and for a resolver that nobody answers.
  CurlClient client{loop, {std::chrono::seconds(60), 4, "byocd-test"}};
};

}  // namespace byocd
