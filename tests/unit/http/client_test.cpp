#include "http/client.h"

#include <event2/event.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>

#include "support/curl_client_test.h"
#include "support/tiny_server.h"

namespace byocd {
namespace {

using namespace std::chrono_literals;

TEST_F(CurlClientTest, SendsAFormWithBasicAuthenticationAndReadsTheAnswer) {
  std::string seen;
  TinyServer server([&](Peer& peer) {
    seen = peer.read_request();
    peer.write("HTTP/1.1 429 Too Many Requests\r\nRetry-After: 7\r\nContent-Length: 4\r\n\r\nslow");
  });
  const auto result = send(post(server.url()));
  ASSERT_TRUE(result.ok());
  EXPECT_EQ(result->status, 429);
  EXPECT_EQ(result->body, "slow");
  EXPECT_EQ(result->retry_after, 7s);
  EXPECT_EQ(seen.rfind("POST /x HTTP/1.1\r\n", 0), 0u);
  EXPECT_NE(seen.find("Authorization: Basic QUMwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMTptYWRlLXVw"),
            std::string::npos);
  EXPECT_NE(seen.find("Content-Type: application/x-www-form-urlencoded"), std::string::npos);
  EXPECT_NE(seen.find("\r\n\r\nBody=hello"), std::string::npos);
}

TEST_F(CurlClientTest, ARetryAfterThatIsTooLongToReckonWithIsSixHours) {
  for (const char* seconds : {"21601", "9223372036854775807", "Fri, 31 Dec 9999 23:59:59 GMT"}) {
    TinyServer server([&](Peer& peer) {
      peer.read_request();
      peer.write(std::string("HTTP/1.1 503 Later\r\nRetry-After: ") + seconds + "\r\nContent-Length: 0\r\n\r\n");
    });
    const auto result = send(post(server.url()));
    ASSERT_TRUE(result.ok()) << seconds;
    EXPECT_EQ(result->retry_after, 6h) << seconds;
  }
}

TEST_F(CurlClientTest, KeepsConnections) {
  TinyServer server([](Peer& peer) {
    while (!peer.read_request().empty()) peer.write(ok_answer);
  });
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(send(post(server.url())).ok());
  EXPECT_EQ(server.connections(), 1);
}

// Three lengths, because base64 has as many kinds of padding.
TEST_F(CurlClientTest, AuthenticatesEachRequestOfAConnectionAsItsOwnUser) {
  std::vector<std::string> seen;
  TinyServer server([&](Peer& peer) {
    for (std::string request; !(request = peer.read_request()).empty(); peer.write(ok_answer)) seen.push_back(request);
  });
  const std::vector<std::pair<std::string, std::string>> users{
      {"AC1", "QUMxOm1hZGU6dXA="},
      {"SK22", "U0syMjptYWRlOnVw"},
      {"AC333", "QUMzMzM6bWFkZTp1cA=="},
  };
  for (const auto& [user, encoded] : users) {
    HttpRequest request = post(server.url());
    request.user = user;
    request.password = SecretString("made:up");
    EXPECT_TRUE(send(std::move(request)).ok());
    EXPECT_NE(seen.back().find("\r\nAuthorization: Basic " + encoded + "\r\n"), std::string::npos) << seen.back();
  }
  EXPECT_EQ(server.connections(), 1);
}

TEST_F(CurlClientTest, EachRequestOfAConnectionGoesToItsOwnUrl) {
  std::vector<std::string> seen;
  TinyServer server([&](Peer& peer) {
    for (std::string request; !(request = peer.read_request()).empty(); peer.write(ok_answer))
      seen.push_back(request.substr(0, request.find(" HTTP")));
  });
  const auto to = [&](HttpRequest::Method method, const char* path) {
    HttpRequest request = post(server.url());
    request.method = method;
    request.url.replace(request.url.rfind('/'), std::string::npos, path);
    EXPECT_TRUE(send(std::move(request)).ok());
  };
  using Method = HttpRequest::Method;
  to(Method::post, "/a");
  to(Method::get, "/b?c=%20d");
  to(Method::post, "/a");
  to(Method::post, "/e%2Ff");
  to(Method::get, "/a");
  EXPECT_EQ(seen, (std::vector<std::string>{"POST /a", "GET /b?c=%20d", "POST /a", "POST /e%2Ff", "GET /a"}));
  EXPECT_EQ(server.connections(), 1);
}

TEST_F(CurlClientTest, SendsEachMethodWithHeadersAndWithoutBasicAuthentication) {
  std::vector<std::string> seen;
  TinyServer server([&](Peer& peer) {
    for (std::string request; !(request = peer.read_request()).empty(); peer.write(ok_answer)) seen.push_back(request);
  });
  using Method = HttpRequest::Method;
  const auto sent = [&](Method method, bool with_headers) -> const std::string& {
    HttpRequest request = post(server.url(), "{}");
    request.method = method;
    request.user.clear();
    if (with_headers) {
      request.headers.emplace_back("Authorization: Bearer made-up");
      request.headers.emplace_back("Content-Type: application/json");
    }
    EXPECT_TRUE(send(std::move(request)).ok());
    return seen.back();
  };
  for (const auto& [method, name] : {std::pair(Method::put, "PUT"), std::pair(Method::patch, "PATCH"),
                                     std::pair(Method::post, "POST"), std::pair(Method::put, "PUT")}) {
    const std::string& request = sent(method, true);
    EXPECT_EQ(request.rfind(std::string(name) + " /x HTTP/1.1\r\n", 0), 0u) << request;
    EXPECT_NE(request.find("\r\nAuthorization: Bearer made-up\r\n"), std::string::npos);
    EXPECT_NE(request.find("\r\nContent-Type: application/json\r\n"), std::string::npos);
    EXPECT_EQ(request.find("form-urlencoded"), std::string::npos);
    EXPECT_NE(request.find("\r\n\r\n{}"), std::string::npos);
  }
  for (const auto& [method, name] : {std::pair(Method::del, "DELETE"), std::pair(Method::get, "GET")}) {
    const std::string& request = sent(method, false);
    EXPECT_EQ(request.rfind(std::string(name) + " /x HTTP/1.1\r\n", 0), 0u) << request;
    EXPECT_EQ(request.find("Authorization"), std::string::npos) << request;
    EXPECT_EQ(request.find("Content-"), std::string::npos) << request;
    EXPECT_EQ(request.substr(request.size() - 4), "\r\n\r\n");
  }
  EXPECT_EQ(server.connections(), 1);
}

TEST_F(CurlClientTest, GoesThroughTheEnvironmentsProxyUnlessItIsAtHome) {
  std::string seen;
  TinyServer proxy([&](Peer& peer) {
    seen = peer.read_request();
    peer.write(ok_answer);
  });
  TinyServer server([](Peer& peer) {
    peer.read_request();
    peer.write(ok_answer);
  });
  ::setenv("http_proxy", proxy.url().c_str(), 1);
  CurlClient through(loop, {60s, 4, "byocd-test"});
  const bool far = send(through, post("http://provider.invalid/x")).ok();
  const bool near = send(through, post(server.url())).ok();
  ::unsetenv("http_proxy");
  EXPECT_TRUE(far);
  EXPECT_EQ(seen.rfind("POST http://provider.invalid/x HTTP/1.1\r\n", 0), 0u) << seen;
  EXPECT_TRUE(near);
  EXPECT_EQ(proxy.connections(), 1);
}

// libcurl sends a request again by itself when a kept connection breaks before an answer. For an SMS that is a second
// SMS.
TEST_F(CurlClientTest, ABrokenKeptConnectionNeverSendsTwice) {
  std::atomic<int> requests{0};
  for (const bool hard : {false, true}) {
    requests = 0;
    TinyServer server([&](Peer& peer) {
      for (int i = 0; !peer.read_request().empty(); ++i) {
        ++requests;
        if (i == 1) return hard ? peer.reset() : peer.close();
        peer.write(ok_answer);
      }
    });
    EXPECT_TRUE(send(post(server.url())).ok());
    const HttpFailure failed = failure(server.url());
    EXPECT_EQ(failed.kind, HttpFailure::Kind::connection_lost);
    EXPECT_TRUE(failed.possibly_written);
    EXPECT_EQ(requests, 2);
  }
}

TEST_F(CurlClientTest, AConnectionThatWasClosedWhileIdleIsReplaced) {
  std::atomic<int> closed{0};
  TinyServer server([&](Peer& peer) {
    peer.read_request();
    peer.write(ok_answer);
    peer.close();
    ++closed;
  });
  EXPECT_TRUE(send(post(server.url())).ok());
  while (closed == 0) std::this_thread::yield();
  EXPECT_TRUE(send(post(server.url())).ok());
  EXPECT_EQ(server.connections(), 2);
}

// libcurl tries again by itself only a few times.
TEST_F(CurlClientTest, ManyConnectionsThatWereClosedWhileIdleAreReplacedByOne) {
  constexpr int many = 8;
  std::vector<int> kept;
  std::atomic<int> released{0};
  TinyServer server([&](Peer& peer) {
    peer.read_request();
    peer.write(ok_answer);
    if (released == many) return;
    kept.push_back(peer.release());
    ++released;
  });
  CurlClient busy(loop, {60s, many, "byocd-test"});
  send_many(busy, server.url(), many);
  while (released < many) std::this_thread::yield();
  for (const int fd : kept) ::close(fd);
  EXPECT_TRUE(send(busy, post(server.url())).ok());
  EXPECT_EQ(server.connections(), many + 1);
}

TEST_F(CurlClientTest, MoreRequestsThanShareConnectionsAreAllAnsweredOrCancelled) {
  constexpr int many = 150;
  TinyServer server([](Peer& peer) {
    peer.read_request();
    peer.write(ok_answer);
  });
  send_many(client, server.url(), many);
  EXPECT_EQ(server.connections(), many);
  int cancelled = 0;
  for (int i = 0; i < many; ++i)
    client.send(post(server.url()), [&](const HttpResult& got) {
      if (!got.ok() && got.error().kind == HttpFailure::Kind::cancelled) ++cancelled;
    });
  client.flush();
  client.cancel_all();
  EXPECT_EQ(cancelled, many);
}

// Idle connections stay watched. What ended must not keep the loop busy, nor confuse the next socket of that number.
TEST_F(CurlClientTest, AnIdleConnectionThatEndedIsNotWatchedAnyMore) {
  TinyServer server([](Peer& peer) {
    peer.read_request();
    peer.write(ok_answer);
  });
  std::unique_ptr<Timer> look;
  const auto watched = [&] { return event_base_get_num_events(loop.base(), EVENT_BASE_COUNT_ADDED) > 0; };
  look = loop.make_timer([&] { watched() ? look->start(1ms) : loop.stop(); });
  for (int round = 1; round <= 3; ++round) {
    EXPECT_TRUE(send(post(server.url())).ok());
    look->start(1ms);
    loop.run();
    EXPECT_EQ(server.connections(), round);
  }
}

TEST_F(CurlClientTest, CutsALongBodyAndSaysSo) {
  TinyServer server([](Peer& peer) {
    peer.read_request();
    peer.write("HTTP/1.1 200 OK\r\nContent-Length: 6000000\r\n\r\n" + std::string(6'000'000, 'x'));
  });
  const auto result = send(post(server.url()));
  ASSERT_TRUE(result.ok());
  EXPECT_EQ(result->status, 200);
  EXPECT_TRUE(result->truncated);
  EXPECT_EQ(result->body.size(), std::size_t{4} << 20);
}

TEST_F(CurlClientTest, DoesNotFollowRedirects) {
  std::atomic<int> requests{0};
  TinyServer server([&](Peer& peer) {
    while (!peer.read_request().empty()) {
      ++requests;
      peer.write("HTTP/1.1 307 Temporary Redirect\r\nLocation: /y\r\nContent-Length: 0\r\n\r\n");
    }
  });
  EXPECT_EQ(send(post(server.url()))->status, 307);
  EXPECT_EQ(requests, 1);
}

}  // namespace
}  // namespace byocd
