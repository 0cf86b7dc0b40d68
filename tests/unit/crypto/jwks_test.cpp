#include "crypto/jwks.h"

#include "support/token_maker.h"

#include <gtest/gtest.h>

namespace byoc {
namespace {

const std::string shared_secret(32, 's');

struct Parsed {
  Jwks set = {};
  JwksProblem problem;
  explicit Parsed(const std::string& text) { problem = parse_jwks(text, set); }
  ~Parsed() { release(set); }
};

std::string keys(const std::string& members) {
  return "{\"keys\":[" + members + "]}";
}
JwksError error_of(const std::string& members) {
  return Parsed(keys(members)).problem.error;
}

TEST(Jwks, TakesTheAlgorithmFromAlgOrFromTheType) {
  const Parsed parsed(keys(secret_jwk(shared_secret, R"(,"kid":"a")") + ',' + rsa().jwk(R"(,"kid":"b","use":"sig")") +
                           ',' + rsa().jwk(R"(,"kid":"c","alg":"PS256","key_ops":["verify"])") + ',' +
                           p256().jwk(R"(,"kid":"d")")));
  ASSERT_EQ(parsed.problem.error, JwksError::none);
  ASSERT_EQ(parsed.set.count, 4u);
  EXPECT_STREQ(name_of(parsed.set.find("a")->algorithm), "HS256");
  EXPECT_STREQ(name_of(parsed.set.find("b")->algorithm), "RS256");
  EXPECT_STREQ(name_of(parsed.set.find("c")->algorithm), "PS256");
  EXPECT_STREQ(name_of(parsed.set.find("d")->algorithm), "ES256");
  EXPECT_EQ(parsed.set.find("e"), nullptr);
  EXPECT_EQ(parsed.set.find(""), nullptr) << "among several keys an id is needed";
  EXPECT_TRUE(parsed.set.has(parsed.set.find("a")->fingerprint));
  EXPECT_NE(parsed.set.find("b")->fingerprint, parsed.set.find("c")->fingerprint) << "the algorithm counts";
  EXPECT_FALSE(parsed.set.has(0));
  EXPECT_TRUE(parsed.set.holds_secret());
}

TEST(Jwks, OneKeyNeedsNoId) {
  const Parsed parsed(keys(p256().jwk()));
  ASSERT_EQ(parsed.problem.error, JwksError::none);
  EXPECT_NE(parsed.set.find(""), nullptr);
  EXPECT_EQ(parsed.set.find("x"), nullptr);
  EXPECT_FALSE(parsed.set.holds_secret());
}

TEST(Jwks, SkipsKeysThatAreNotForVerifyingWithTheFourAlgorithms) {
  const std::string good = secret_jwk(shared_secret, R"(,"kid":"good")");
  for (const std::string& other :
       {rsa().jwk(R"(,"kid":"x","use":"enc")"), rsa().jwk(R"(,"kid":"x","alg":"RSA-OAEP")"),
        rsa().jwk(R"(,"kid":"x","alg":"RS512")"), rsa().jwk(R"(,"kid":"x","key_ops":["encrypt"])"),
        std::string(R"({"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"})"),
        std::string(R"({"kty":"EC","crv":"P-521","x":"AA","y":"AA","kid":"x"})")}) {
    const Parsed parsed(keys(other + ',' + good));
    EXPECT_EQ(parsed.problem.error, JwksError::none) << other;
    EXPECT_EQ(parsed.set.count, 1u) << other;
    EXPECT_EQ(error_of(other), JwksError::no_key);
  }
}

TEST(Jwks, RefusesWeakKeys) {
  EXPECT_EQ(error_of(secret_jwk(std::string(31, 's'))), JwksError::weak_key);
  EXPECT_EQ(error_of(secret_jwk(std::string(32, 's'))), JwksError::none);
  EXPECT_EQ(error_of(KeyPair::rsa(1024).jwk()), JwksError::weak_key);
  const std::string n = base64url(rsa().number("n"));
  const auto with = [&n](const std::string& e) { return R"({"kty":"RSA","n":")" + n + R"(","e":")" + e + "\"}"; };
  EXPECT_EQ(error_of(with("AQ")), JwksError::weak_key) << "exponent 1 accepts anything";
  EXPECT_EQ(error_of(with("Ag")), JwksError::weak_key);
  EXPECT_EQ(error_of(with("Aw")), JwksError::none);
  EXPECT_EQ(error_of(with("AAEAAQ")), JwksError::malformed_key) << "leading zero";
  const std::string padded = std::string(128, '\0') + KeyPair::rsa(1024).number("n");
  EXPECT_EQ(error_of(R"({"kty":"RSA","e":"AQAB","n":")" + base64url(padded) + "\"}"), JwksError::malformed_key)
      << "zeros in front do not make a modulus long";
}

TEST(Jwks, RefusesMistakes) {
  EXPECT_EQ(error_of(rsa().jwk(R"(,"d":"AQAB")")), JwksError::private_key);
  EXPECT_EQ(error_of(p256().jwk(R"(,"d":"AQAB","use":"enc")")), JwksError::private_key);
  EXPECT_EQ(error_of(rsa().jwk(R"(,"alg":"HS256")")), JwksError::wrong_type);
  EXPECT_EQ(error_of(secret_jwk(shared_secret, R"(,"alg":"RS256")")), JwksError::wrong_type);
  EXPECT_EQ(error_of(p256().jwk(R"(,"alg":"PS256")")), JwksError::wrong_type);
  EXPECT_EQ(error_of(secret_jwk(shared_secret, R"(,"kid":7)")), JwksError::malformed_key);
  EXPECT_EQ(error_of(secret_jwk(shared_secret, R"(,"kid":"")")), JwksError::malformed_key);
  EXPECT_EQ(error_of(secret_jwk(shared_secret, R"(,"kid":")" + std::string(256, 'k') + '"')), JwksError::malformed_key);
  EXPECT_EQ(error_of(secret_jwk(shared_secret, R"(,"alg":7)")), JwksError::malformed_key);
  EXPECT_EQ(error_of(R"({"kty":"oct"})"), JwksError::malformed_key);
  EXPECT_EQ(error_of(R"({"k":"AAAA"})"), JwksError::malformed_key);
  EXPECT_EQ(error_of(R"({"kty":"oct","k":"not+base64/url="})"), JwksError::malformed_key);
  EXPECT_EQ(
      error_of(
          R"({"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU"})"),
      JwksError::malformed_key)
      << "a point beside the curve";
  EXPECT_EQ(error_of("7"), JwksError::malformed_key);
  EXPECT_EQ(error_of(""), JwksError::no_key);
  const Parsed twice(keys(secret_jwk(shared_secret, R"(,"kid":"a")") + ',' + p256().jwk(R"(,"kid":"a")")));
  EXPECT_EQ(twice.problem.error, JwksError::duplicate_id);
  EXPECT_EQ(twice.problem.key, 2);
  EXPECT_EQ(twice.set.count, 0u);
  const Parsed nameless(keys(secret_jwk(shared_secret, R"(,"kid":"a")") + ',' + p256().jwk()));
  EXPECT_EQ(nameless.problem.error, JwksError::missing_id);
  EXPECT_EQ(nameless.problem.key, 2);
}

TEST(Jwks, RefusesWhatIsNoKeySet) {
  for (const char* text :
       {"", "[]", "{}", "null", "{\"keys\":{}}", "{\"keys\":[]", "{\"keys\":[],\"keys\":[]}", "\xff"}) {
    EXPECT_EQ(Parsed(text).problem.error, JwksError::malformed) << text;
  }
  EXPECT_EQ(error_of(secret_jwk(shared_secret, R"(,"k":"AAAA")")), JwksError::malformed) << "a member twice";
  EXPECT_EQ(Parsed(std::string(jwks_file_limit + 1, ' ')).problem.error, JwksError::too_large);
  std::string many;
  for (int i = 0; i < 65; ++i)
    many += (i == 0 ? "" : ",") + secret_jwk(shared_secret, ",\"kid\":\"" + std::to_string(i) + '"');
  EXPECT_EQ(error_of(many), JwksError::too_many_keys);
}

TEST(Jwks, EachProblemIsSaid) {
  for (int error = 0; error <= static_cast<int>(JwksError::failed); ++error) {
    EXPECT_STRNE(describe(static_cast<JwksError>(error)), "");
  }
}

}  // namespace
}  // namespace byoc
