#include "api/oauth_trip.h"

#include <gtest/gtest.h>

#include <set>

namespace byocd {
namespace {

TEST(OAuthTrip, EachIsAnother) {
  std::set<std::string> seen;
  for (int i = 0; i < 100; ++i) {
    const OAuthTrip trip = new_oauth_trip();
    EXPECT_TRUE(looks_like_trip(trip.state));
    EXPECT_TRUE(looks_like_trip(trip.browser.reveal()));
    seen.insert({trip.state, trip.browser.reveal()});
  }
  EXPECT_EQ(seen.size(), 200u);
}

TEST(OAuthTrip, OnlyItsFormIsLookedUp) {
  EXPECT_FALSE(looks_like_trip(""));
  EXPECT_FALSE(looks_like_trip(std::string(42, 'a')));
  EXPECT_FALSE(looks_like_trip(std::string(44, 'a')));
  EXPECT_FALSE(looks_like_trip(std::string(42, 'a') + "'"));
  EXPECT_FALSE(looks_like_trip(std::string(42, 'a') + "\xc3"));
  EXPECT_TRUE(looks_like_trip(std::string(41, 'a') + "-_"));
}

TEST(OAuthTrip, TheVerifierNeedsBothEnds) {
  const OAuthTrip trip{std::string(43, 's'), SecretString(std::string(43, 'b'))};
  const std::string verifier = code_verifier(trip).reveal();
  EXPECT_EQ(verifier.size(), 43u);  // RFC 7636, section 4.1: at least
  EXPECT_EQ(code_verifier({trip.state, trip.browser.copy()}).reveal(), verifier);
  EXPECT_NE(code_verifier({std::string(43, 't'), trip.browser.copy()}).reveal(), verifier);
  EXPECT_NE(code_verifier({trip.state, SecretString(std::string(43, 'c'))}).reveal(), verifier);
}

// RFC 7636, appendix B
TEST(OAuthTrip, TheChallengeIsTheRfcs) {
  EXPECT_EQ(code_challenge(SecretString("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk")),
            "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
}

TEST(OAuthTrip, TheCookieComesBackFromAnotherSiteAndIsSetByNobodyElse) {
  const SecretString secret("abc");
  EXPECT_EQ(trip_cookie(secret, "https://app.example/sms"),
            "__Host-byoc_oauth=abc; Max-Age=600; Path=/; HttpOnly; SameSite=Lax; Secure");
  EXPECT_EQ(trip_cookie(secret, "http://127.0.0.1:8080"),
            "byoc_oauth=abc; Max-Age=600; Path=/; HttpOnly; SameSite=Lax");
  EXPECT_EQ(no_trip_cookie("https://app.example"),
            "__Host-byoc_oauth=; Max-Age=0; Path=/; HttpOnly; SameSite=Lax; Secure");
}

}  // namespace
}  // namespace byocd
