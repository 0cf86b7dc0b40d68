// What is told of a request that got no answer: whether the peer may have acted on it.
#include <gtest/gtest.h>

#include <atomic>

#include "support/curl_client_test.h"
#include "support/tiny_server.h"

namespace byocd {
namespace {

using namespace std::chrono_literals;
using Kind = HttpFailure::Kind;

TEST_F(CurlClientTest, ARefusedConnectionWasNotWritten) {
  std::string url;
  {
    url = TinyServer([](Peer&) {}).url();
  }
  const HttpFailure failed = failure(url);
  EXPECT_EQ(failed.kind, Kind::connect_failed);
  EXPECT_FALSE(failed.possibly_written);
}

TEST_F(CurlClientTest, AnUnknownHostWasNotWritten) {
  EXPECT_EQ(failure("http://does-not-exist.invalid/").kind, Kind::connect_failed);
}

TEST_F(CurlClientTest, AFailedTlsHandshakeWasNotWritten) {
  TinyServer server([](Peer& peer) { peer.write("this is not TLS at all\r\n\r\n"); });
  std::string url = server.url();
  url.replace(0, 4, "https");
  EXPECT_EQ(failure(url).kind, Kind::connect_failed);
}

TEST_F(CurlClientTest, AnAnswerThatDoesNotComeIsATimeoutAfterWriting) {
  TinyServer server([](Peer& peer) {
    peer.read_request();
    peer.wait_for_close();
  });
  CurlClient impatient(loop, {2s, 4, "byocd-test"});
  const auto result = send(impatient, post(server.url()));
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.error().kind, Kind::timeout);
  EXPECT_TRUE(result.error().possibly_written);
}

TEST_F(CurlClientTest, AResetAfterTheRequestIsALostConnection) {
  TinyServer server([](Peer& peer) {
    peer.read_request();
    peer.reset();
  });
  EXPECT_EQ(failure(server.url()).kind, Kind::connection_lost);
}

TEST_F(CurlClientTest, AnEmptyAnswerIsALostConnection) {
  TinyServer server([](Peer& peer) { peer.read_request(); });
  EXPECT_EQ(failure(server.url()).kind, Kind::connection_lost);
}

TEST_F(CurlClientTest, AnAnswerThatBreaksOffIsALostConnection) {
  TinyServer server([](Peer& peer) {
    peer.read_request();
    peer.write("HTTP/1.1 201 Created\r\nContent-Length: 100\r\n\r\n{\"sid\"");
  });
  EXPECT_EQ(failure(server.url()).kind, Kind::connection_lost);
}

TEST_F(CurlClientTest, GarbageIsALostConnection) {
  TinyServer server([](Peer& peer) {
    peer.read_request();
    peer.write("220 mail.example.test ready\r\n");
  });
  EXPECT_EQ(failure(server.url()).kind, Kind::connection_lost);
}

TEST_F(CurlClientTest, WhatIsTooLateIsNotWritten) {
  std::atomic<int> requests{0};
  TinyServer server([&](Peer& peer) {
    while (!peer.read_request().empty()) {
      ++requests;
      peer.write(ok_answer);
    }
  });
  auto in_time = post(server.url());
  in_time.not_after = Clock::now() + 1h;
  EXPECT_TRUE(send(std::move(in_time)).ok());
  auto late = post(server.url());
  late.not_after = Clock::now() - 1ms;
  const auto result = send(std::move(late));
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.error().kind, Kind::too_late);
  EXPECT_FALSE(result.error().possibly_written);
  EXPECT_TRUE(send(post(server.url())).ok());
  EXPECT_EQ(requests, 2);
}

TEST_F(CurlClientTest, CancellingTellsWhatWasWritten) {
  std::atomic<bool> read{false};
  TinyServer server([&](Peer& peer) {
    peer.read_request();
    read = true;
    peer.wait_for_close();
  });
  std::vector<HttpFailure> failures;
  client.send(post(server.url()), [&](const HttpResult& got) { failures.push_back(got.error()); });
  std::unique_ptr<Timer> look;
  look = loop.make_timer([&] { read ? loop.stop() : look->start(1ms); });
  look->start(1ms);
  loop.run();
  client.send(post(server.url()), [&](const HttpResult& got) { failures.push_back(got.error()); });
  client.cancel_all();
  ASSERT_EQ(failures.size(), 2u);
  EXPECT_EQ(failures[0].kind, Kind::cancelled);
  EXPECT_NE(failures[0].possibly_written, failures[1].possibly_written);
}

TEST_F(CurlClientTest, WhatIsCancelledBeforeItBeginsWasNotWrittenThoughItsHandleHasWrittenBefore) {
  TinyServer server([](Peer& peer) {
    while (!peer.read_request().empty()) peer.write(ok_answer);
  });
  EXPECT_TRUE(send(post(server.url())).ok());
  std::optional<HttpFailure> failure;
  client.send(post(server.url()), [&](const HttpResult& got) { failure = got.error(); });
  client.cancel_all();
  ASSERT_TRUE(failure);
  EXPECT_FALSE(failure->possibly_written);
}

}  // namespace
}  // namespace byocd
