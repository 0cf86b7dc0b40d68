#include "crypto/jwt.h"

#include "support/key_set.h"
#include "support/token_maker.h"

#include <gtest/gtest.h>

namespace byoc {
namespace {

constexpr std::int64_t now_unix = 1'800'000'000;
constexpr std::int64_t microseconds = 1'000'000;
constexpr std::int64_t epoch_of_2000 = 946'684'800;
constexpr char known_organization[] = "aaaaaaaa-0000-4000-8000-00000000000a";

std::int64_t at(std::int64_t unix_seconds) {
  return (unix_seconds - epoch_of_2000) * microseconds;
}

const std::string hs256_secret = "0123456789abcdef0123456789abcdef";
const Jwks& keys() {
  static const Keys keys(secret_jwk(hs256_secret, R"(,"kid":"hs")") + ',' + rsa().jwk(R"(,"kid":"rs")") + ',' +
                         rsa().jwk(R"(,"kid":"ps","alg":"PS256")") + ',' + p256().jwk(R"(,"kid":"es")"));
  return keys.set;
}

std::string hs256_with(const std::string& header, const std::string& claims) {
  const std::string input = signing_input(header, claims);
  return input + '.' + base64url(hmac(EVP_sha256(), hs256_secret, input));
}
std::string hs256(const std::string& claims) {
  return hs256_with(R"({"alg":"HS256","kid":"hs"})", claims);
}

// Claims that are good at now_unix; `more` begins with a comma.
std::string claims(const std::string& more = "") {
  return R"({"org_id":")" + std::string(known_organization) + R"(","exp":)" + std::to_string(now_unix + 60) + more +
         '}';
}
std::string claims_without_organization(const std::string& more) {
  return R"({"exp":)" + std::to_string(now_unix + 60) + more + '}';
}

JwtRules rules() {
  JwtRules rules;
  rules.now = at(now_unix);
  return rules;
}

JwtError verify(const std::string& token, const JwtRules& rules = byoc::rules()) {
  TenantContext context;
  return verify_jwt(keys(), token, rules, context);
}

TEST(Jwt, AllFourAlgorithms) {
  EXPECT_EQ(verify(hs256(claims())), JwtError::none);
  const auto token = [](const std::string& header, const KeyPair& pair, int salt = -1) {
    const std::string input = signing_input(header, claims());
    return input + '.' + base64url(pair.sign(input, salt));
  };
  EXPECT_EQ(verify(token(R"({"alg":"RS256","kid":"rs"})", rsa())), JwtError::none);
  EXPECT_EQ(verify(token(R"({"alg":"PS256","kid":"ps"})", rsa(), 32)), JwtError::none);
  EXPECT_EQ(verify(token(R"({"alg":"ES256","kid":"es"})", p256())), JwtError::none);
  EXPECT_EQ(verify(token(R"({"alg":"PS256","kid":"ps"})", rsa(), 20)), JwtError::bad_signature)
      << "RFC 7518, 3.5: the salt has 32 bytes";
  EXPECT_EQ(verify(token(R"({"alg":"RS256","kid":"ps"})", rsa())), JwtError::wrong_algorithm);
  EXPECT_EQ(verify(token(R"({"alg":"PS256","kid":"rs"})", rsa(), 32)), JwtError::wrong_algorithm);
  EXPECT_EQ(verify(token(R"({"alg":"ES256","kid":"es"})", KeyPair::p256())), JwtError::bad_signature);
  const std::string zeros =
      signing_input(R"({"alg":"ES256","kid":"es"})", claims()) + '.' + base64url(std::string(64, '\0'));
  EXPECT_EQ(verify(zeros), JwtError::bad_signature) << "r = s = 0";
}

// ---- Attacks on the header ----

TEST(Jwt, AlgorithmConfusion) {
  const auto with_header = [](const std::string& header, const std::string& signature) {
    return signing_input(header, claims()) + '.' + signature;
  };
  for (const char* algorithm : {"none", "None", "NONE", "nOnE", ""}) {
    for (const char* id : {"hs", "rs", "ps", "es"}) {
      const std::string header = R"({"alg":")" + std::string(algorithm) + R"(","kid":")" + id + "\"}";
      for (const char* signature : {"", "AAAA"})
        EXPECT_NE(verify(with_header(header, signature)), JwtError::none) << header;
    }
  }
  // The public key, which everybody knows, as a secret.
  for (const std::string& known : {rsa().number("n"), rsa().jwk(), p256().jwk()}) {
    for (const char* id : {"rs", "ps", "es"}) {
      const std::string input = signing_input(R"({"alg":"HS256","kid":")" + std::string(id) + "\"}", claims());
      EXPECT_EQ(verify(input + '.' + base64url(hmac(EVP_sha256(), known, input))), JwtError::wrong_algorithm);
    }
  }
  // cjose itself would accept these.
  for (const auto& [name, hash] : {std::pair{"HS384", EVP_sha384()}, std::pair{"HS512", EVP_sha512()}}) {
    const std::string input = signing_input(R"({"alg":")" + std::string(name) + R"(","kid":"hs"})", claims());
    EXPECT_EQ(verify(input + '.' + base64url(hmac(hash, hs256_secret, input))), JwtError::wrong_algorithm) << name;
  }
  EXPECT_EQ(verify(with_header(R"({"alg":"HS256","kid":"hs"})", "")), JwtError::bad_signature);
  EXPECT_EQ(verify(with_header(R"({"alg":"HS256","kid":"hs"})", "AAAA")), JwtError::bad_signature);
  EXPECT_EQ(verify(hs256_with(R"({"alg":"hs256","kid":"hs"})", claims())), JwtError::wrong_algorithm);
}

TEST(Jwt, TheHeaderNamesTheKey) {
  EXPECT_EQ(verify(hs256_with(R"({"alg":"HS256","kid":"other"})", claims())), JwtError::unknown_key);
  EXPECT_EQ(verify(hs256_with(R"({"alg":"HS256","kid":"HS"})", claims())), JwtError::unknown_key);
  EXPECT_EQ(verify(hs256_with(R"({"alg":"HS256"})", claims())), JwtError::unknown_key) << "several keys";
  EXPECT_EQ(verify(hs256_with(R"({"alg":"HS256","kid":""})", claims())), JwtError::malformed);
  EXPECT_EQ(verify(hs256_with(R"({"alg":"HS256","kid":7})", claims())), JwtError::malformed);
  const Keys one(secret_jwk(hs256_secret));
  EXPECT_EQ(verify_signature(one.set, hs256_with(R"({"alg":"HS256"})", claims())), JwtError::none);
  EXPECT_EQ(verify_signature(one.set, hs256_with(R"({"alg":"HS256","kid":"x"})", claims())), JwtError::unknown_key);
}

TEST(Jwt, HeadersThatAreRefused) {
  EXPECT_EQ(verify(hs256_with(R"({"alg":"HS256","kid":"hs","crit":["exp"]})", claims())), JwtError::critical_header);
  EXPECT_EQ(verify(hs256_with(R"({"alg":"HS256","kid":"hs","crit":null})", claims())), JwtError::critical_header);
  for (const char* header : {"", "[]", "null", "7", "{", R"({"kid":"hs"})", R"({"alg":7,"kid":"hs"})",
                             R"({"alg":["HS256"],"kid":"hs"})", R"({"alg":"none","alg":"HS256","kid":"hs"})",
                             R"({"alg":"HS256","kid":"rs","kid":"hs"})", "{\"alg\":\"HS256\",\"kid\":\"h\\u0000s\"}",
                             "{\"alg\":\"HS256\",\"kid\":\"\xff\"}", R"({"alg":"HS256","kid":"hs"} x)"}) {
    EXPECT_EQ(verify(hs256_with(header, claims())), JwtError::malformed) << header;
  }
  for (const char* token : {"", ".", "..", "...", "a.b", "a.b.c", "byoc", "a.b.c.d.e"}) {
    EXPECT_EQ(verify(token), JwtError::malformed) << token;
  }
}

TEST(Jwt, HugeTokens) {
  EXPECT_EQ(verify(std::string(jwt_limit + 1, 'A')), JwtError::too_large);
  EXPECT_EQ(verify(hs256(claims(R"(,"x":")" + std::string(11'000, 'x') + '"'))), JwtError::none);
  EXPECT_EQ(verify(hs256(claims(R"(,"x":")" + std::string(20'000, 'x') + '"'))), JwtError::too_large);
  EXPECT_EQ(verify(hs256(claims(",\"x\":" + std::string(5000, '[') + std::string(5000, ']')))), JwtError::malformed)
      << "too deep";
  EXPECT_EQ(verify(std::string(jwt_limit, '.')), JwtError::malformed);
  EXPECT_EQ(verify(base64url(std::string(8000, '{')) + ".A.A"), JwtError::malformed);
}

// ---- Claims ----

TEST(Jwt, FillsTheContext) {
  TenantContext context;
  ASSERT_EQ(verify_jwt(keys(), hs256(claims(R"(,"sub":"auth0|Zoë","org_role":"owner")")), rules(), context),
            JwtError::none);
  EXPECT_EQ(context.organization[0], 0xaa);
  EXPECT_EQ(context.organization[15], 0x0a);
  EXPECT_STREQ(context.user_id, "auth0|Zoë");
  EXPECT_EQ(context.user_id_size, std::string("auth0|Zoë").size());
  EXPECT_EQ(context.role, OrganizationRole::owner);
  EXPECT_EQ(context.process_id, 0);
  EXPECT_EQ(context.expires_at, at(now_unix + 60 + 30));
  EXPECT_EQ(context.signer, keys().find("hs")->fingerprint);
}

TEST(Jwt, ARefusedTokenLeavesNothingInTheContext) {
  TenantContext context;
  context.user_id_size = 9;
  EXPECT_EQ(verify_jwt(keys(), hs256(claims(R"(,"sub":"ada","org_role":"root")")), rules(), context),
            JwtError::bad_role);
  EXPECT_EQ(context.user_id_size, 0);
  EXPECT_EQ(context.organization[0], 0);
  EXPECT_EQ(context.signer, 0u);
}

TEST(Jwt, ExpiryAndStart) {
  const auto expiring = [](const std::string& when) {
    return verify(hs256(R"({"org_id":")" + std::string(known_organization) + "\",\"exp\":" + when + '}'));
  };
  EXPECT_EQ(expiring(std::to_string(now_unix - 29)), JwtError::none);
  EXPECT_EQ(expiring(std::to_string(now_unix - 30)), JwtError::expired) << "30 s of skew, not a microsecond more";
  EXPECT_EQ(expiring(std::to_string(now_unix - 30) + ".9"), JwtError::expired);
  EXPECT_EQ(expiring(std::to_string(now_unix) + ".5"), JwtError::none);
  EXPECT_EQ(expiring("1.9e9"), JwtError::none);
  EXPECT_EQ(expiring("9223372036854775807"), JwtError::none);
  EXPECT_EQ(expiring("1e300"), JwtError::none);
  EXPECT_EQ(expiring("-1e300"), JwtError::expired);
  EXPECT_EQ(expiring("-9223372036854775808"), JwtError::expired);
  EXPECT_EQ(expiring("0"), JwtError::expired);
  for (const char* bad : {"null", "\"1900000000\"", "true", "[1900000000]", "1e999", "92233720368547758070"}) {
    EXPECT_EQ(expiring(bad), JwtError::malformed) << bad;
  }
  EXPECT_EQ(verify(hs256(R"({"org_id":")" + std::string(known_organization) + "\"}")), JwtError::no_expiry);

  const auto starting = [](const std::string& when) { return verify(hs256(claims(",\"nbf\":" + when))); };
  EXPECT_EQ(starting(std::to_string(now_unix + 30)), JwtError::none);
  EXPECT_EQ(starting(std::to_string(now_unix + 31)), JwtError::not_yet_valid);
  EXPECT_EQ(starting("0"), JwtError::none);
  EXPECT_EQ(starting("1e300"), JwtError::not_yet_valid);
  EXPECT_EQ(starting("\"0\""), JwtError::malformed);
}

TEST(Jwt, IssuerAndAudience) {
  JwtRules strict = rules();
  strict.issuer = "https://issuer.example/";
  strict.audience = "byoc";
  const auto with = [&strict](const std::string& more) { return verify(hs256(claims(more)), strict); };
  const std::string issuer = R"(,"iss":"https://issuer.example/")";
  EXPECT_EQ(with(issuer + R"(,"aud":"byoc")"), JwtError::none);
  EXPECT_EQ(with(issuer + R"(,"aud":["other","byoc"])"), JwtError::none);
  for (const char* audience :
       {"", R"(,"aud":"other")", R"(,"aud":"byocx")", R"(,"aud":"BYOC")", R"(,"aud":[])", R"(,"aud":[["byoc"]])",
        R"(,"aud":{"byoc":"byoc"})", R"(,"aud":null)", R"(,"aud":[7])"}) {
    EXPECT_EQ(with(issuer + audience), JwtError::wrong_audience) << audience;
  }
  for (const char* other :
       {"", R"(,"iss":"https://issuer.example")", R"(,"iss":["https://issuer.example/"])", R"(,"iss":null)"}) {
    EXPECT_EQ(with(std::string(other) + R"(,"aud":"byoc")"), JwtError::wrong_issuer) << other;
  }
  EXPECT_EQ(verify(hs256(claims(R"(,"iss":"any","aud":7)"))), JwtError::none) << "neither is configured";
}

TEST(Jwt, OrganizationPath) {
  const std::string id = '"' + std::string(known_organization) + '"';
  const auto with = [](const char* path, const std::string& more) {
    JwtRules moved = rules();
    moved.organization_claim = path;
    return verify(hs256(claims_without_organization(more)), moved);
  };
  EXPECT_EQ(with("tenant", ",\"tenant\":" + id), JwtError::none);
  EXPECT_EQ(with("app_metadata.org_id", R"(,"app_metadata":{"org_id":)" + id + '}'), JwtError::none);
  EXPECT_EQ(with("a.b.c", R"(,"a":{"b":{"c":)" + id + "}}"), JwtError::none);
  EXPECT_EQ(with("https://app.example/org_id", ",\"https://app.example/org_id\":" + id), JwtError::none)
      << "a namespaced claim";
  EXPECT_EQ(with("app_metadata.org_id", ",\"org_id\":" + id), JwtError::bad_organization);
  EXPECT_EQ(with("app_metadata.org_id", R"(,"app_metadata":[{"org_id":)" + id + "}]"), JwtError::bad_organization);
  EXPECT_EQ(with("app_metadata.org_id", R"(,"app_metadata":null)"), JwtError::bad_organization);
  EXPECT_EQ(with("app_metadata.org_id", R"(,"user_metadata":{"org_id":)" + id + '}'), JwtError::bad_organization);
  for (const char* path : {"", ".", "..", "a.", ".a", "org_id."})
    EXPECT_EQ(with(path, ",\"a\":" + id), JwtError::bad_organization) << path;
  EXPECT_EQ(with(std::string(5000, 'p').c_str(), ",\"a\":" + id), JwtError::bad_organization);

  for (const char* value : {"null", "7", "\"\"", "\"aaaaaaaa-0000-4000-8000-00000000000\"",
                            "\"aaaaaaaa-0000-4000-8000-00000000000ab\"", "\"aaaaaaaa00004000800000000000000a\"",
                            "\"{aaaaaaaa-0000-4000-8000-00000000000}\"", "\"aaaaaaaa-0000-4000-8000-00000000000g\"",
                            "\"aaaaaaaa_0000-4000-8000-00000000000a\"", "[\"aaaaaaaa-0000-4000-8000-00000000000a\"]"}) {
    EXPECT_EQ(with("org_id", std::string(",\"org_id\":") + value), JwtError::bad_organization) << value;
  }
  EXPECT_EQ(with("org_id", R"(,"org_id":"AAAAAAAA-0000-4000-8000-00000000000A")"), JwtError::none);
}

TEST(Jwt, UserAndRole) {
  const auto with = [](const std::string& more) { return verify(hs256(claims(more))); };
  EXPECT_EQ(with(R"(,"sub":")" + std::string(255, 'u') + '"'), JwtError::none);
  EXPECT_EQ(with(R"(,"sub":")" + std::string(256, 'u') + '"'), JwtError::bad_user);
  EXPECT_EQ(with(R"(,"sub":7)"), JwtError::bad_user);
  EXPECT_EQ(with(R"(,"sub":null)"), JwtError::bad_user);
  EXPECT_EQ(with(R"(,"sub":"")"), JwtError::none);
  for (const char* role : {"\"root\"", "\"Owner\"", "\"\"", "null", "7", "[\"owner\"]", "\"owner \""}) {
    EXPECT_EQ(with(std::string(",\"org_role\":") + role), JwtError::bad_role) << role;
  }
  const auto role_of = [](const std::string& more, const char* path = "org_id") {
    JwtRules moved = rules();
    moved.organization_claim = path;
    TenantContext context;
    EXPECT_EQ(verify_jwt(keys(), hs256(claims(more)), moved, context), JwtError::none) << more;
    return context.role;
  };
  EXPECT_EQ(role_of(""), OrganizationRole::member);
  EXPECT_EQ(role_of(R"(,"org_role":"member")"), OrganizationRole::member);
  EXPECT_EQ(role_of(R"(,"org_role":"admin")"), OrganizationRole::admin);
  const std::string nested =
      R"(,"app_metadata":{"org_id":")" + std::string(known_organization) + R"(","org_role":"admin"})";
  EXPECT_EQ(role_of(nested, "app_metadata.org_id"), OrganizationRole::admin) << "beside the organization";
  EXPECT_EQ(role_of(nested + R"(,"org_role":"owner")", "app_metadata.org_id"), OrganizationRole::owner)
      << "top level first";
  EXPECT_EQ(role_of(nested), OrganizationRole::member) << "not from elsewhere";
}

TEST(Jwt, ClaimsThatAreNoObjectOrSayAThingTwice) {
  for (const std::string& payload :
       {std::string(), std::string("[]"), std::string("null"), std::string("\"x\""), claims().substr(1),
        claims(R"(,"org_id":"bbbbbbbb-0000-4000-8000-00000000000b")"), claims(",\"exp\":1"),
        claims(R"(,"x":{"a":1,"a":2})"), claims(",\"x\":\"\xff\""), claims() + claims()}) {
    EXPECT_EQ(verify(hs256(payload)), JwtError::malformed) << payload;
  }
}

TEST(Jwt, EachErrorIsSaid) {
  for (int error = 0; error <= static_cast<int>(JwtError::bad_role); ++error) {
    EXPECT_STRNE(describe(static_cast<JwtError>(error)), "");
  }
}

}  // namespace
}  // namespace byoc
