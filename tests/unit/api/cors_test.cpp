#include "api/cors.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace byocd {
namespace {

ApiRequest request(const std::string& path, const std::string& origin) {
  ApiRequest made;
  made.method = "OPTIONS";
  made.path = path;
  made.headers = {{"origin", origin}, {"access-control-request-method", "POST"}};
  return made;
}

std::vector<std::string> names(const Cors& cors, const ApiRequest& request) {
  ApiAnswer answer;
  cors.allow(request, answer);
  std::vector<std::string> found;
  for (const auto& [name, value] : answer.headers) found.push_back(name);
  return found;
}

TEST(Cors, IsOffUnlessConfigured) {
  const Cors cors({});
  EXPECT_FALSE(cors.is_preflight(request("/api/session", "https://app.example")));
  EXPECT_TRUE(names(cors, request("/api/session", "https://app.example")).empty());
}

TEST(Cors, IsForTheApiAndTheNamedOriginsOnly) {
  const Cors cors({"https://app.example"});
  EXPECT_TRUE(cors.is_preflight(request("/api/session", "https://app.example")));
  EXPECT_FALSE(cors.is_preflight(request("/api/session", "https://evil.example")));
  EXPECT_FALSE(cors.is_preflight(request("/dashboard/session", "https://app.example")));
  EXPECT_EQ(names(cors, request("/api/session", "https://app.example")).size(), 3u);
  EXPECT_EQ(names(cors, request("/api/session", "https://evil.example")), std::vector<std::string>{"Vary"});
}

}  // namespace
}  // namespace byocd
