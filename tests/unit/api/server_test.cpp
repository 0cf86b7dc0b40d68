#include "api/server.h"

#include "api/health.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <csignal>

#include <nlohmann/json.hpp>

#include "http/client.h"
#include "process.h"

namespace byocd {
namespace {

using namespace std::chrono_literals;

class ServerTest : public testing::Test {
 protected:
  HttpResponse send(HttpRequest::Method method, const std::string& path, std::string body = "") {
    HttpRequest request;
    request.method = method;
    request.body = std::move(body);
    request.url = "http://127.0.0.1:" + std::to_string(server.port()) + path;
    HttpResponse response;
    client.send(std::move(request), [&](HttpResult got) {
      EXPECT_TRUE(got.ok());
      if (got) response = std::move(*got);
      loop.stop();
    });
    loop.run();
    return response;
  }
  HttpResponse get(const std::string& path) { return send(HttpRequest::Method::get, path); }

  Loop loop;
  Server server{loop, "127.0.0.1", 0};
  CurlClient client{loop, {2s, 4, "byocd-test"}};
};

TEST_F(ServerTest, AnswersHealth) {
  server.get("/healthz", [] { return health_answer(); });
  EXPECT_EQ(get("/healthz").status, 200);
  EXPECT_EQ(get("/healthz?verbose=1").status, 200);
}

TEST_F(ServerTest, ReadyOnlyWhenItCanWork) {
  Readiness readiness{true, true, true, true, true, true, false};
  server.get("/readyz", [&] { return readiness_answer(readiness); });
  EXPECT_EQ(get("/readyz").status, 200);
  readiness.can_record = false;
  const HttpResponse missing = get("/readyz");
  EXPECT_EQ(missing.status, 503);
  EXPECT_EQ(nlohmann::json::parse(missing.body)["record_connection"], false);
  readiness = {true, true, true, true, true, true, true};
  EXPECT_EQ(get("/readyz").status, 503);
}

TEST_F(ServerTest, ElsewhereAnswersProblemDocuments) {
  const HttpResponse missing = get("/nothing");
  EXPECT_EQ(missing.status, 404);
  EXPECT_EQ(nlohmann::json::parse(missing.body)["status"], 404);
  server.get("/healthz", [] { return health_answer(); });
  EXPECT_EQ(send(HttpRequest::Method::post, "/healthz").status, 405);
}

// libevent's own refusal is a page.
TEST_F(ServerTest, WhatLibeventRefusesIsAProblemDocumentToo) {
  const HttpResponse refused = get("/" + std::string(30'000, 'a'));
  EXPECT_EQ(refused.status, 400);
  EXPECT_EQ(nlohmann::json::parse(refused.body)["status"], 400);
}

TEST_F(ServerTest, HandlersSeeTheRequestAndMayAnswerLater) {
  ApiRequest seen;
  auto later = std::unique_ptr<Timer>();
  server.route("POST", "/things/{id}/names", [&](const ApiRequest& request, const Reply& reply) {
    seen = request;
    later = loop.make_timer([reply] { reply(empty_answer()); });
    later->start(1ms);
  });
  EXPECT_EQ(send(HttpRequest::Method::post, "/things/a%20b/names?x=1", "name=value").status, 204);
  EXPECT_EQ(seen.method, "POST");
  EXPECT_EQ(seen.path, "/things/a%20b/names");
  EXPECT_EQ(seen.query, "x=1");
  EXPECT_EQ(seen.parameter, "a%20b");
  EXPECT_EQ(seen.body, "name=value");
  EXPECT_EQ(seen.header("content-type"), "application/x-www-form-urlencoded");
  EXPECT_EQ(seen.header("x-absent"), "");
}

TEST_F(ServerTest, RefusesLongBodies) {
  int calls = 0;
  server.route("POST", "/long", [&](const ApiRequest&, const Reply& reply) {
    ++calls;
    reply(empty_answer());
  });
  EXPECT_EQ(send(HttpRequest::Method::post, "/long", std::string(64 * 1024, 'x')).status, 204);
  const HttpResponse refused = send(HttpRequest::Method::post, "/long", std::string(64 * 1024 + 1, 'x'));
  EXPECT_EQ(refused.status, 413);
  EXPECT_EQ(nlohmann::json::parse(refused.body)["status"], 413);
  EXPECT_EQ(calls, 1);
}

TEST_F(ServerTest, AnAnswerWithoutAClientIsDropped) {
  Reply late;
  server.route("GET", "/slow", [&](const ApiRequest&, const Reply& reply) { late = reply; });
  HttpRequest request;
  request.url = "http://127.0.0.1:" + std::to_string(server.port()) + "/slow";
  CurlClient impatient(loop, {100ms, 4, "byocd-test"});
  impatient.send(std::move(request), [&](const HttpResult& got) {
    EXPECT_FALSE(got.ok());
    loop.stop();
  });
  loop.run();
  ASSERT_TRUE(late);
  late(empty_answer());
  server.get("/healthz", [] { return health_answer(); });
  EXPECT_EQ(get("/healthz").status, 200);
  late(empty_answer());
}

// A client that asks and then reads nothing.
int ask_and_read_nothing(int port, const std::string& path) {
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  EXPECT_EQ(connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  const std::string request = "GET " + path + " HTTP/1.1\r\nHost: x\r\n\r\n";
  EXPECT_EQ(write(fd, request.data(), request.size()), static_cast<ssize_t>(request.size()));
  return fd;
}

TEST_F(ServerTest, StreamsUntilTheEnd) {
  const auto stream = std::make_shared<AnswerStream>();
  bool gone = false;
  stream->on_gone = [&] { gone = true; };
  std::unique_ptr<Timer> later;
  server.route("GET", "/stream", [&](const ApiRequest&, const Reply& reply) {
    reply({200, "text/event-stream", "first ", {}, stream});
    later = loop.make_timer([&] {
      stream->write("second");
      stream->end();
      stream->write("nothing");
    });
    later->start(1ms);
  });
  EXPECT_EQ(get("/stream").body, "first second");
  EXPECT_FALSE(gone);
}

TEST_F(ServerTest, LetsGoOfAClientThatDoesNotReadItsStream) {
  std::signal(SIGPIPE, SIG_IGN);  // as byocd does
  const auto stream = std::make_shared<AnswerStream>();
  stream->on_gone = [&] { loop.stop(); };
  std::unique_ptr<Timer> more;
  server.route("GET", "/stream", [&](const ApiRequest&, const Reply& reply) {
    reply({200, "text/event-stream", "", {}, stream});
    more->start(0us);
  });
  std::size_t written = 0;
  more = loop.make_timer([&] {
    stream->write(std::string(64 * 1024, 'x'));
    written += 64 * 1024;
    ASSERT_LT(written, std::size_t{1} << 30) << "it takes all";
    more->start(0us);
  });
  const int fd = ask_and_read_nothing(server.port(), "/stream");
  loop.run();
  more->stop();
  close(fd);
  server.get("/healthz", [] { return health_answer(); });
  EXPECT_EQ(get("/healthz").status, 200);
}

TEST_F(ServerTest, MakesRoomForNewClientsAndKeepsThoseItServes) {
  raise_file_limit();  // as byocd does
  Reply late;
  server.route("GET", "/slow", [&](const ApiRequest&, const Reply& reply) {
    late = reply;
    loop.stop();
  });
  server.get("/healthz", [] { return health_answer(); });
  std::vector<int> clients{ask_and_read_nothing(server.port(), "/slow")};
  loop.run();
  // In lots that fit into the kernel's queue of connections that wait to be accepted.
  for (int lot = 0; lot < 10; ++lot) {
    for (int i = 0; i < 60; ++i) clients.push_back(ask_and_read_nothing(server.port(), "/healthz"));
    EXPECT_EQ(get("/healthz").status, 200);
  }
  late(empty_answer());
  EXPECT_EQ(get("/healthz").status, 200);
  char answer[12];
  EXPECT_EQ(recv(clients[0], answer, sizeof answer, MSG_DONTWAIT), 12) << "the oldest was being served";
  EXPECT_EQ(std::string(answer, 12), "HTTP/1.1 204");
  int open = 0;
  for (const int fd : clients) {
    char bytes[4096];
    ssize_t got = 0;
    while ((got = recv(fd, bytes, sizeof bytes, MSG_DONTWAIT)) > 0) {
    }
    open += got < 0 ? 1 : 0;  // nothing to read, and not the end
    close(fd);
  }
  EXPECT_LE(open, 512);
  EXPECT_GE(open, 500);
}

TEST(Server, MayGoWhileARequestIsPending) {
  Loop loop;
  CurlClient client(loop, {2s, 4, "byocd-test"});
  Reply late;
  {
    Server server(loop, "127.0.0.1", 0);
    server.route("GET", "/slow", [&](const ApiRequest&, const Reply& reply) {
      late = reply;
      loop.stop();
    });
    HttpRequest request;
    request.url = "http://127.0.0.1:" + std::to_string(server.port()) + "/slow";
    client.send(std::move(request), [](const HttpResult&) {});
    loop.run();
  }
  ASSERT_TRUE(late);
  late(empty_answer());
  client.cancel_all();
}

TEST(Server, SaysWhichAddressIsTaken) {
  Loop loop;
  const Server first(loop, "127.0.0.1", 0);
  try {
    const Server second(loop, "127.0.0.1", first.port());
    FAIL() << "two servers on one port";
  } catch (const std::runtime_error& error) {
    EXPECT_NE(std::string(error.what()).find(std::to_string(first.port())), std::string::npos);
  }
}

}  // namespace
}  // namespace byocd
