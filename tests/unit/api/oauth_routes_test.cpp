#include "api/oauth_routes.h"

#include <gtest/gtest.h>

#include "providers/google_oauth.h"
#include "support/fake_http.h"
#include "support/fake_oauth_gateway.h"
#include "support/fake_tenant_database.h"
#include "support/recorded.h"
#include "support/rows_of.h"

namespace byocd {
namespace {

const std::string state(43, 's');
const std::string browser(43, 'b');

class OAuthRoutesTest : public testing::Test {
 protected:
  OAuthRoutesTest() { routes.add_routes(router); }

  void ask(const std::string& path, const std::string& query, std::map<std::string, std::string> headers) {
    ApiRequest request;
    request.method = "GET";
    request.path = path;
    request.query = query;
    request.headers = std::move(headers);
    router.serve(request, [this](ApiAnswer given) { answer = std::move(given); });
  }
  void start(const std::string& accept = "text/html") { ask("/api/auth/google/start", "", {{"accept", accept}}); }
  void come_back(const std::string& query, const std::string& cookie = browser) {
    ask("/api/auth/google/callback", query, {{"cookie", "__Host-byoc_oauth=" + cookie}});
  }
  void take(const std::string& client = "server.example", const std::string& secret = "") {
    take_first(gateway.taken)
        .second(std::optional<TakenState>(TakenState{"org-1", "google_calendar", client, SecretString(secret)}));
  }
  std::string header(const std::string& name) const {
    for (const auto& [each, value] : answer.headers)
      if (each == name) return value;
    return "";
  }
  std::string outcome() const {
    const std::string location = header("Location");
    const std::string page = "/sms/dashboard/settings?connect=";
    EXPECT_TRUE(location.starts_with(page)) << location;
    return location.substr(std::min(location.size(), page.size()));
  }

  FakeTenantDatabase tenants;
  FakeOAuthGateway gateway;
  FakeHttp http;
  GoogleOAuth oauth{"https://google.example.test",
                    std::make_shared<OAuthClient>(OAuthClient{"server.example", SecretString("secret-server")})};
  OAuthRoutes routes{{tenants, gateway, http,
                      [](const ApiRequest&) -> Result<SecretString, ApiAnswer> { return SecretString("a.b.c"); }},
                     oauth,
                     {"/api/auth/google", "google_calendar", "https://app.example/sms"}};
  Router router;
  ApiAnswer answer;
};

TEST_F(OAuthRoutesTest, TheDatabaseGetsHashesAndTheBrowserTheRest) {
  start();
  auto call = tenants.next();
  EXPECT_EQ(call.statement, "start_oauth");
  EXPECT_EQ(call.params.at(0), "google_calendar");
  EXPECT_EQ(call.params.at(3), "server.example");
  call.callback(rows_of({{"own.example"}}));
  EXPECT_EQ(answer.status, 303);
  const std::string location = header("Location");
  EXPECT_NE(location.find("client_id=own.example"), std::string::npos);
  EXPECT_NE(location.find("redirect_uri=https%3A%2F%2Fapp.example%2Fsms%2Fapi%2Fauth%2Fgoogle%2Fcallback"),
            std::string::npos);
  const std::string sent = location.substr(location.find("state=") + 6, 43);
  EXPECT_EQ(call.params.at(1), bytea(sha256(sent)));
  const std::string cookie = header("Set-Cookie").substr(std::string("__Host-byoc_oauth=").size(), 43);
  EXPECT_EQ(call.params.at(2), bytea(sha256(cookie)));
  EXPECT_NE(location.find("code_challenge=" + code_challenge(code_verifier({sent, SecretString(cookie)}))),
            std::string::npos);
}

TEST_F(OAuthRoutesTest, ABrowserIsTakenBackWhenItCannotSetOut) {
  start();
  tenants.next().callback(fail(DbError{"42501", "this needs the organization role admin", "", false, ""}));
  EXPECT_EQ(outcome(), "not_allowed");
  start("application/json");
  tenants.next().callback(fail(DbError{"42501", "this needs the organization role admin", "", false, ""}));
  EXPECT_EQ(answer.status, 403);
}

TEST_F(OAuthRoutesTest, ExchangesTheCodeWithTheVerifierOfThisBrowser) {
  come_back("state=" + state + "&code=4%2F0code");
  EXPECT_EQ(gateway.taken.front().first, sha256(state));
  take();
  const std::string form = http.calls.front().request.body;
  EXPECT_NE(form.find("code=4%2F0code&"), std::string::npos);
  EXPECT_NE(form.find("code_verifier=" + code_verifier({state, SecretString(browser)}).reveal()), std::string::npos);
  EXPECT_NE(form.find("client_secret=secret-server"), std::string::npos);
  EXPECT_EQ(routes.pending(), 1);
  http.answer(200, recorded("google/tokens"));
  auto added = take_first(gateway.added);
  EXPECT_EQ(added.first, "1//0simulated-refresh ada@example.org");
  added.second(std::string("credential-1"));
  EXPECT_EQ(outcome(), "connected");
  EXPECT_EQ(routes.pending(), 0);
  EXPECT_NE(header("Set-Cookie").find("Max-Age=0"), std::string::npos);
}

TEST_F(OAuthRoutesTest, AnOwnClientIsItsOwnSecret) {
  come_back("state=" + state + "&code=x");
  take("own.example", "secret-own");
  EXPECT_NE(http.calls.front().request.body.find("client_id=own.example&client_secret=secret-own"), std::string::npos);
}

TEST_F(OAuthRoutesTest, AClientThatTheServerHasNoMoreExchangesNothing) {
  come_back("state=" + state + "&code=x");
  take("earlier.example");
  EXPECT_EQ(outcome(), "not_configured");
  EXPECT_TRUE(http.calls.empty());
}

TEST_F(OAuthRoutesTest, WithoutStateOrCookieNobodyIsAsked) {
  for (const auto& [query, cookie] : {std::pair(std::string("code=x"), browser),
                                      {"state=" + state + "x&code=x", browser},
                                      {"state=" + state + "&code=x", std::string()},
                                      {"", browser}}) {
    come_back(query, cookie);
    EXPECT_EQ(outcome(), "expired");
  }
  EXPECT_TRUE(gateway.taken.empty());
}

TEST_F(OAuthRoutesTest, WhatIsNoStateOfOursEndsThere) {
  come_back("state=" + state + "&code=x");
  take_first(gateway.taken).second(std::optional<TakenState>());
  EXPECT_EQ(outcome(), "expired");
  EXPECT_EQ(header("Set-Cookie"), "");
  come_back("state=" + state + "&code=x");
  take_first(gateway.taken).second(std::optional<TakenState>(TakenState{"org-1", "other", "c", {}}));
  EXPECT_EQ(outcome(), "expired");
  come_back("state=" + state + "&code=x");
  take_first(gateway.taken).second(fail(DbError{"", "gone", "", true, ""}));
  EXPECT_EQ(outcome(), "unavailable");
  EXPECT_TRUE(http.calls.empty());
}

TEST_F(OAuthRoutesTest, NothingOfWhatTheProviderSaysIsRepeated) {
  come_back("state=" + state + "&error=access_denied");
  take();
  EXPECT_EQ(outcome(), "denied");
  come_back("state=" + state + "&error=%0d%0aSet-Cookie:x=y&error_description=https://evil.example");
  take();
  EXPECT_EQ(outcome(), "refused");
  for (const auto& [name, value] : answer.headers) EXPECT_EQ(value.find("evil"), std::string::npos) << name;
}

TEST_F(OAuthRoutesTest, WhatCannotBeStoredIsNotConnected) {
  come_back("state=" + state + "&code=x");
  take();
  http.answer(200, recorded("google/tokens"));
  take_first(gateway.added).second(fail(DbError{"42501", "this needs the organization role admin", "", false, ""}));
  EXPECT_EQ(outcome(), "not_allowed");
  come_back("state=" + state + "&code=x");
  take();
  http.answer(503, "");
  EXPECT_EQ(outcome(), "unavailable");
}

}  // namespace
}  // namespace byocd
