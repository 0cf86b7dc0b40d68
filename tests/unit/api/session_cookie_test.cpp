#include "api/session_cookie.h"

#include <gtest/gtest.h>

namespace byocd {
namespace {

constexpr char url[] = "http://sms.example";

ApiRequest request_with(std::map<std::string, std::string> headers) {
  ApiRequest made;
  made.headers = std::move(headers);
  return made;
}

TEST(SessionCookie, TheHeaderGoesBeforeTheCookie) {
  const ShownToken header =
      shown_token(request_with({{"authorization", "Bearer a.b.c"}, {"cookie", "byoc_session=x"}}), url);
  EXPECT_EQ(header.token.reveal(), "a.b.c");
  EXPECT_FALSE(header.by_cookie);
  EXPECT_EQ(shown_token(request_with({{"authorization", "bEARER   a.b.c"}}), url).token.reveal(), "a.b.c");
  EXPECT_TRUE(
      shown_token(request_with({{"authorization", "Basic eDp5"}, {"cookie", "byoc_session=x"}}), url).token.empty());
  EXPECT_TRUE(shown_token(request_with({{"authorization", "Bearer "}}), url).token.empty());
}

TEST(SessionCookie, IsFoundAmongOthers) {
  for (const char* cookies : {"byoc_session=x", "a=b; byoc_session=x", "byoc_session=x; a=b", "a;;byoc_session=x"}) {
    const ShownToken shown = shown_token(request_with({{"cookie", cookies}}), url);
    EXPECT_EQ(shown.token.reveal(), "x") << cookies;
    EXPECT_TRUE(shown.by_cookie);
  }
  for (const char* cookies : {"", ";", "=", "byoc_session", "xbyoc_session=x", "byoc_session2=x", "a=byoc_session=x"})
    EXPECT_TRUE(shown_token(request_with({{"cookie", cookies}}), url).token.empty()) << cookies;
}

TEST(SessionCookie, HoldsForTheWholeSiteOrThePathOfThePublicUrl) {
  const SecretString token("a.b.c");
  EXPECT_EQ(session_cookie(token, ""), "byoc_session=a.b.c; Path=/; HttpOnly; SameSite=Strict");
  EXPECT_EQ(session_cookie(token, "https://example.org/sms"),
            "__Secure-byoc_session=a.b.c; Path=/sms/; HttpOnly; SameSite=Strict; Secure");
  EXPECT_EQ(session_cookie(token, "https://example.org"),
            "__Host-byoc_session=a.b.c; Path=/; HttpOnly; SameSite=Strict; Secure");
  EXPECT_EQ(no_session_cookie("http://example.org"), "byoc_session=; Max-Age=0; Path=/; HttpOnly; SameSite=Strict");
}

TEST(SessionCookie, ANeighbourCannotMakeOne) {
  const std::string cookies = "byoc_session=theirs; __Secure-byoc_session=theirs; __Host-byoc_session=ours";
  EXPECT_EQ(shown_token(request_with({{"cookie", cookies}}), "https://sms.app.example").token.reveal(), "ours");
  EXPECT_TRUE(shown_token(request_with({{"cookie", "byoc_session=theirs"}}), "https://sms.app.example").token.empty());
  EXPECT_TRUE(shown_token(request_with({{"cookie", "byoc_session=theirs"}}), "https://app.example/sms").token.empty());
}

TEST(SessionCookie, CsrfTokensBelongToOneToken) {
  const SecretString token("a.b.c");
  EXPECT_TRUE(has_csrf_token(request_with({{"x-csrf-token", csrf_token(token)}}), token));
  EXPECT_FALSE(has_csrf_token(request_with({{"x-csrf-token", csrf_token(SecretString("a.b.d"))}}), token));
  EXPECT_FALSE(has_csrf_token(request_with({}), token));
  EXPECT_EQ(csrf_token(token).find("a.b.c"), std::string::npos);
}

TEST(SessionCookie, KnowsOurPagesAndAllowedOrigins) {
  const std::vector<std::string> allowed{"https://app.example"};
  const auto known = [&](const std::string& origin, const std::string& host) {
    return has_known_origin(request_with({{"origin", origin}, {"host", host}}), "https://sms.example/x", allowed);
  };
  EXPECT_TRUE(known("https://app.example", "127.0.0.1:8080"));
  EXPECT_TRUE(known("https://sms.example", "127.0.0.1:8080"));
  EXPECT_TRUE(known("http://localhost:8080", "localhost:8080"));
  EXPECT_FALSE(known("http://sms.example", "sms.example")) << "not over plain http";
  for (const char* origin : {"", "null", "https://app.example.evil.example", "https://evil.example", "https://"})
    EXPECT_FALSE(known(origin, "")) << origin;
}

TEST(SessionCookie, NoTokenBreaksAHeader) {
  EXPECT_TRUE(looks_like_token("eyJ-_9.a.b="));
  for (const char* text : {"", "a b", "a;b", "a\r\nb", "a\"b", "é"}) EXPECT_FALSE(looks_like_token(text)) << text;
}

}  // namespace
}  // namespace byocd
