#include "api/server.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "http/client.h"

namespace byocd {
namespace {

using namespace std::chrono_literals;

class ServerTest : public testing::Test {
 protected:
  HttpResponse send(HttpRequest::Method method, const std::string& path) {
    HttpRequest request;
    request.method = method;
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
  Readiness readiness{true, true, false};
  server.get("/readyz", [&] { return readiness_answer(readiness); });
  EXPECT_EQ(get("/readyz").status, 200);
  readiness.can_record = false;
  const HttpResponse missing = get("/readyz");
  EXPECT_EQ(missing.status, 503);
  EXPECT_EQ(nlohmann::json::parse(missing.body)["record_connection"], false);
  readiness = {true, true, true};
  EXPECT_EQ(get("/readyz").status, 503);
}

TEST_F(ServerTest, ElsewhereAnswersProblemDocuments) {
  const HttpResponse missing = get("/nothing");
  EXPECT_EQ(missing.status, 404);
  EXPECT_EQ(nlohmann::json::parse(missing.body)["status"], 404);
  server.get("/healthz", [] { return health_answer(); });
  EXPECT_EQ(send(HttpRequest::Method::post, "/healthz").status, 405);
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
