#include "providers/google_oauth.h"

#include <gtest/gtest.h>

#include "providers/form.h"
#include "support/jobs.h"
#include "support/recorded.h"

namespace byocd {
namespace {

using namespace std::chrono_literals;

std::map<std::string, std::string> fields_of(const std::string& form) {
  std::map<std::string, std::string> fields;
  for (auto& [name, value] : parse_form(form)) fields[name] = value;
  return fields;
}

const auto deployment =
    std::make_shared<const OAuthClient>(OAuthClient{"server.example", SecretString("secret-server")});

class GoogleOAuthTest : public testing::Test {
 protected:
  std::string code_of_refresh(const CredentialFields& credential) const {
    const auto request = oauth.prepare_refresh(credential);
    return request ? "" : request.error().code;
  }

  GoogleOAuth oauth{"http://google.example.test", deployment};
};

TEST_F(GoogleOAuthTest, AsksForLastingAccessWithPkce) {
  const std::string url =
      oauth.authorization_url({"app.example", "https://sms.example/api/auth/google/callback", "a state", "c0"});
  EXPECT_TRUE(url.starts_with("http://google.example.test/o/oauth2/v2/auth?"));
  const auto fields = fields_of(url.substr(url.find('?') + 1));
  EXPECT_EQ(fields.at("client_id"), "app.example");
  EXPECT_EQ(fields.at("redirect_uri"), "https://sms.example/api/auth/google/callback");
  EXPECT_EQ(fields.at("response_type"), "code");
  EXPECT_EQ(fields.at("state"), "a state");
  EXPECT_EQ(fields.at("code_challenge"), "c0");
  EXPECT_EQ(fields.at("code_challenge_method"), "S256");
  EXPECT_EQ(fields.at("access_type"), "offline");
  EXPECT_EQ(fields.at("prompt"), "consent");
}

TEST_F(GoogleOAuthTest, GoogleHasThreeHosts) {
  const GoogleOAuth real("", nullptr);
  EXPECT_TRUE(real.authorization_url({}).starts_with("https://accounts.google.com/o/oauth2/v2/auth?"));
  EXPECT_EQ(real.prepare_exchange({}, *deployment).url, "https://oauth2.googleapis.com/token");
  EXPECT_EQ(real.prepare_revocation(SecretString("t")).url, "https://oauth2.googleapis.com/revoke");
}

TEST_F(GoogleOAuthTest, ExchangesACodeInTheForm) {
  const auto request =
      oauth.prepare_exchange({SecretString("4/0 code"), "https://sms.example/cb", SecretString("v0")}, *deployment);
  EXPECT_EQ(request.method, HttpRequest::Method::post);
  EXPECT_EQ(request.url, "http://google.example.test/token");
  EXPECT_EQ(fields_of(request.body), (std::map<std::string, std::string>{{"grant_type", "authorization_code"},
                                                                         {"code", "4/0 code"},
                                                                         {"redirect_uri", "https://sms.example/cb"},
                                                                         {"code_verifier", "v0"},
                                                                         {"client_id", "server.example"},
                                                                         {"client_secret", "secret-server"}}));
}

TEST_F(GoogleOAuthTest, ReadsTheTokensOfAnExchange) {
  const auto grant = oauth.interpret_exchange(response(200, recorded("google/tokens")));
  ASSERT_TRUE(grant.ok());
  EXPECT_EQ(grant->access_token.reveal(), "ya29.simulated-access");
  EXPECT_EQ(grant->refresh_token.reveal(), "1//0simulated-refresh");
  EXPECT_EQ(grant->expires_in, 3599s);
  EXPECT_EQ(grant->account, "ada@example.org");
}

TEST_F(GoogleOAuthTest, AnIdTokenThatCannotBeReadNamesNobody) {
  for (const char* token : {"", "a", "a.b", "a.!.c", "a.bm9uZQ.c", "a.e30.c", ".."}) {
    const auto grant = oauth.interpret_exchange(
        response(200, std::string(R"({"access_token": "a", "refresh_token": "r", "id_token": ")") + token + "\"}"));
    ASSERT_TRUE(grant.ok());
    EXPECT_EQ(grant->account, "") << token;
  }
}

TEST_F(GoogleOAuthTest, AnExchangeNeedsLastingAccessToEverything) {
  const auto code_of = [&](int status, const std::string& body) {
    const auto grant = oauth.interpret_exchange(response(status, body));
    return grant ? "" : grant.error().code;
  };
  EXPECT_EQ(code_of(200, recorded("google/tokens_refreshed")), "no_refresh_token");
  EXPECT_EQ(
      code_of(
          200,
          R"({"access_token": "a", "refresh_token": "r", "scope": "https://www.googleapis.com/auth/calendar.events"})"),
      "scope_missing");
  EXPECT_EQ(code_of(200, R"({"access_token": "a", "refresh_token": "r"})"), "");
  EXPECT_EQ(code_of(400, recorded("google/error_invalid_grant")), "invalid_grant");
  EXPECT_EQ(code_of(401, recorded("google/error_invalid_client")), "invalid_client");
  EXPECT_EQ(code_of(200, "<html>"), "bad_answer");
  EXPECT_EQ(code_of(200, R"({"access_token": "a\r\nX-Other: b", "refresh_token": "r"})"), "bad_answer");
}

TEST_F(GoogleOAuthTest, RefreshesByTheCredentialsOwnClientOrTheDeployments) {
  const auto own = oauth.prepare_refresh(make_google_credential().fields);
  ASSERT_TRUE(own.ok());
  EXPECT_EQ(fields_of(own->body), (std::map<std::string, std::string>{{"grant_type", "refresh_token"},
                                                                      {"refresh_token", "1//000"},
                                                                      {"client_id", "app.example"},
                                                                      {"client_secret", "secret-000"}}));
  for (const auto& credential : {make_fields({{"refresh_token", "1//1"}}),
                                 make_fields({{"refresh_token", "1//1"}, {"client_id", "server.example"}})}) {
    const auto request = oauth.prepare_refresh(credential);
    ASSERT_TRUE(request.ok());
    EXPECT_EQ(fields_of(request->body).at("client_secret"), "secret-server");
  }
}

TEST_F(GoogleOAuthTest, SaysWhyNothingCanBeRefreshed) {
  EXPECT_EQ(code_of_refresh(make_fields({{"client_id", "a"}, {"client_secret", "s"}})), "not_connected");
  EXPECT_EQ(code_of_refresh(make_fields({{"refresh_token", "r"}, {"client_secret", "s"}})), "credential_incomplete");
  EXPECT_EQ(code_of_refresh(make_fields({{"refresh_token", "r"}, {"client_id", "earlier.example"}})), "client_changed");
  oauth = GoogleOAuth("", nullptr);
  EXPECT_EQ(code_of_refresh(make_fields({{"refresh_token", "r"}})), "client_changed");
}

TEST_F(GoogleOAuthTest, ARefreshKeepsItsRefreshToken) {
  const auto grant = oauth.interpret_refresh(response(200, recorded("google/tokens_refreshed")));
  ASSERT_TRUE(grant.ok());
  EXPECT_TRUE(grant->refresh_token.empty());
}

TEST_F(GoogleOAuthTest, TellsRefusalFromTrouble) {
  const auto problem_of = [&](HttpResult result) { return oauth.interpret_refresh(result).error(); };
  const Problem revoked = problem_of(response(400, recorded("google/error_invalid_grant")));
  EXPECT_EQ(revoked.code, "invalid_grant");
  EXPECT_NE(revoked.text().find("Connect Google Calendar again"), std::string::npos);
  EXPECT_FALSE(revoked.unreachable);
  EXPECT_FALSE(problem_of(response(401, recorded("google/error_invalid_client"))).unreachable);
  EXPECT_EQ(problem_of(response(400, R"({"error": "<b>bold</b>"})")).code, "http_400");
  for (const int status : {301, 429, 500, 503}) EXPECT_TRUE(problem_of(response(status, "")).unreachable) << status;
  EXPECT_TRUE(problem_of(response(400, "<html>a proxy</html>")).unreachable);
  EXPECT_TRUE(problem_of(fail(HttpFailure{})).unreachable);
}

TEST_F(GoogleOAuthTest, ARevokedTokenNeedNoRevocation) {
  const auto request = oauth.prepare_revocation(SecretString("1//000"));
  EXPECT_EQ(fields_of(request.body).at("token"), "1//000");
  EXPECT_EQ(request.url, "http://google.example.test/revoke");
  EXPECT_FALSE(oauth.interpret_revocation(response(200, "{}")));
  EXPECT_FALSE(oauth.interpret_revocation(response(400, recorded("google/error_invalid_token"))));
  EXPECT_TRUE(oauth.interpret_revocation(response(503, ""))->unreachable);
  EXPECT_TRUE(oauth.interpret_revocation(fail(HttpFailure{}))->unreachable);
}

}  // namespace
}  // namespace byocd
