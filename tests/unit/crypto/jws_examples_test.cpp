// The examples of RFC 7515 and RFC 7520: what they sign is read, and nothing that differs from them by one character.

#include "support/key_set.h"

#include <gtest/gtest.h>

namespace byoc {
namespace {

const std::string joe =
    "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
const std::string joe_claims = "{\"iss\":\"joe\",\r\n \"exp\":1300819380,\r\n \"http://example.com/is_root\":true}";
const std::string hobbit =
    "SXTigJlzIGEgZGFuZ2Vyb3VzIGJ1c2luZXNzLCBGcm9kbywgZ29pbmcgb3V0IHlvdXIgZG9vci4gWW91IHN0ZXAgb250byB0aGUgcm9hZCwgYW5kIG"
    "lmIHlv"
    "dSBkb24ndCBrZWVwIHlvdXIgZmVldCwgdGhlcmXigJlzIG5vIGtub3dpbmcgd2hlcmUgeW91IG1pZ2h0IGJlIHN3ZXB0IG9mZiB0by4";

struct Example {
  const char* section;
  std::string key, token, payload_start;
};

const Example examples[] = {
    {"RFC 7515 A.1, HS256",
     R"({"kty":"oct","k":"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"})",
     "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9." + joe + ".dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk", joe_claims},
    {"RFC 7515 A.2, RS256",
     R"({"kty":"RSA","n":"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ","e":"AQAB"})",
     "eyJhbGciOiJSUzI1NiJ9." + joe +
         ".cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_"
         "O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZc"
         "AcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--"
         "xi12jzDwusC-eOkHW"
         "EsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw",
     joe_claims},
    {"RFC 7515 A.3, ES256",
     R"({"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"})",
     "eyJhbGciOiJFUzI1NiJ9." + joe +
         ".DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
     joe_claims},
    {"RFC 7520 4.1, RS256",
     R"({"kty":"RSA","kid":"bilbo.baggins@hobbiton.example","use":"sig","n":"n4EPtAOCc9AlkeQHPzHStgAbgs7bTZLwUBZdR8_KuKPEHLd4rHVTeT-O-XV2jRojdNhxJWTDvNd7nqQ0VEiZQHz_AJmSCpMaJMRBSFKrKb2wqVwGU_NsYOYL-QtiWN2lbzcEe6XC0dApr5ydQLrHqkHHig3RBordaZ6Aj-oBHqFEHYpPe7Tpe-OfVfHd1E6cS6M1FZcD1NNLYD5lFHpPI9bTwJlsde3uhGqC0ZCuEHg8lhzwOHrtIQbS0FVbb9k3-tVTU4fg_3L_vniUFAKwuCLqKnS2BYwdq_mzSnbLY7h_qixoR7jig3__kRhuaxwUkRz5iaiQkqgc5gHdrNP5zw","e":"AQAB"})",
     "eyJhbGciOiJSUzI1NiIsImtpZCI6ImJpbGJvLmJhZ2dpbnNAaG9iYml0b24uZXhhbXBsZSJ9." + hobbit +
         ".MRjdkly7_-oTPTS3AXP41iQIGKa80A0ZmTuV5MEaHoxnW2e5CZ5NlKtainoFmKZopdHM1O2U4mwzJdQx996ivp83xuglII7PNDi84wnB-"
         "BDkoBwA78185"
         "hX-Es4JIwmDLJK3lfWRa-XtL0RnltuYv746iYTh_"
         "qHRD68BNt1uSNCrUCTJDt5aAE6x8wW1Kt9eRo4QPocSadnHXFxnt8Is9UzpERV0ePPQdLuW3IS_de3x"
         "yIrDaLGdjluPxUAhb6L2aXic1U12podGU0KLUQSE_oI-ZnmKJ3F4uOZDnd6QZWJushZ41Axf_fcIe8u9ipH84ogoree7vjbU5y18kDquDg",
     "It’s a dangerous business, Frodo"},
    {"RFC 7520 4.4, HS256",
     R"({"kty":"oct","kid":"018c0ae5-4d9b-471b-bfd6-eef314bc7037","use":"sig","alg":"HS256","k":"hJtXIZ2uSN5kbQfbtTNWbpdmhkV8FJG-Onbc6mxCcYg"})",
     "eyJhbGciOiJIUzI1NiIsImtpZCI6IjAxOGMwYWU1LTRkOWItNDcxYi1iZmQ2LWVlZjMxNGJjNzAzNyJ9." + hobbit +
         ".s0h6KThzkfBBBkLspW1h84VsJZFTsPPqMDA7g1Md7p0",
     "It’s a dangerous business, Frodo"},
};

TEST(Jwt, KnownAnswers) {
  for (const Example& example : examples) {
    const Keys set(example.key);
    std::string payload;
    EXPECT_EQ(verify_signature(set.set, example.token, &payload), JwtError::none) << example.section;
    EXPECT_EQ(payload.substr(0, example.payload_start.size()), example.payload_start) << example.section;
  }
}

// RFC 7515 A.5 and RFC 7520 4.2, 4.3 and 4.5: right by the book, but not allowed here.
TEST(Jwt, KnownAnswersThatAreRefused) {
  const std::string ps384 = "eyJhbGciOiJQUzM4NCIsImtpZCI6ImJpbGJvLmJhZ2dpbnNAaG9iYml0b24uZXhhbXBsZSJ9." + hobbit +
                            ".cu22eBqkYDKgIlTpzDXGvaFfz6WGoz7fUDcfT0kkOy42miAh2qyBzk1xEsnk2IpN6-"
                            "tPid6VrklHkqsGqDqHCdP6O8TTB5dDDItllVo6_1OLPpcbUr"
                            "hiUSMxbbXUvdvWXzg-UD8biiReQFlfz28zGWVsdiNAUf8ZnyPEgVFn442ZdNqiVJRmBqrYRXe8P_"
                            "ijQ7p8Vdz0TTrxUeT3lm8d9shnr2lfJT8ImUjvAA"
                            "2Xez2Mlp8cBE5awDzT0qI0n6uiP1aCN_2_"
                            "jLAeQTlqRHtfa64QQSUmFAAjVKPbByi7xho0uTOcbH510a6GYmJUAfmWjwZ6oD4ifKo8DYM-X72Eaw";
  const std::string es512 = "eyJhbGciOiJFUzUxMiIsImtpZCI6ImJpbGJvLmJhZ2dpbnNAaG9iYml0b24uZXhhbXBsZSJ9." + hobbit +
                            ".AE_R_YZCChjn4791jSQCrdPZCNYqHXCTZH0-"
                            "JZGYNlaAjP2kqaluUIIUnC9qvbu9Plon7KRTzoNEuT4Va2cmL1eJAQy3mtPBu_u_sDDyYjnAMDxXPn7"
                            "XrT0lw-kvAD890jl8e2puQens_IEKBpHABlsbEPX6sFY8OcGDqoRuBomu9xQ2";
  const std::string p521 =
      R"({"kty":"EC","kid":"bilbo.baggins@hobbiton.example","use":"sig","crv":"P-521","x":"AHKZLLOsCOzz5cY97ewNUajB957y-C-U88c3v13nmGZx6sYl_oJXu9A5RkTKqjqvjyekWF-7ytDyRXYgCF5cj0Kt","y":"AdymlHvOiLxXkEhayXQnNCvDX4h9htZaCJN34kfmC6pV5OhQHiraVySsUdaQkAgDPrwQrJmbnX9cwlGfP-HqHZR1"})";
  const Keys rsa_of_bilbo(examples[3].key);
  EXPECT_EQ(verify_signature(rsa_of_bilbo.set, ps384), JwtError::wrong_algorithm) << "RFC 7520 4.2";
  EXPECT_EQ(verify_signature(rsa_of_bilbo.set, es512), JwtError::wrong_algorithm) << "RFC 7520 4.3";
  Jwks none = {};
  EXPECT_EQ(parse_jwks("{\"keys\":[" + p521 + "]}", none).error, JwksError::no_key) << "RFC 7520 4.3";

  const Keys secret_of_hobbits(examples[4].key);
  std::string detached = examples[4].token;
  detached.erase(detached.find('.') + 1, hobbit.size());
  EXPECT_EQ(verify_signature(secret_of_hobbits.set, detached), JwtError::bad_signature) << "RFC 7520 4.5";

  const Keys secret_of_joe(examples[0].key);
  EXPECT_EQ(verify_signature(secret_of_joe.set, "eyJhbGciOiJub25lIn0." + joe + '.'), JwtError::wrong_algorithm)
      << "RFC 7515 A.5";
}

TEST(Jwt, NoChangedCharacterAndNoTruncationPasses) {
  for (const Example& example : examples) {
    const Keys set(example.key);
    for (std::size_t i = 0; i < example.token.size(); ++i) {
      for (const char other : {'A', 'B', 'h', '.', '=', '-', '\n', '\0'}) {
        if (example.token[i] == other) continue;
        std::string altered = example.token;
        altered[i] = other;
        EXPECT_NE(verify_signature(set.set, altered), JwtError::none) << example.section << ' ' << altered;
      }
      EXPECT_NE(verify_signature(set.set, example.token.substr(0, i)), JwtError::none) << example.section << ' ' << i;
    }
    for (const char* end : {"=", "A", ".", "\n", " ", ".A"}) {
      EXPECT_NE(verify_signature(set.set, example.token + end), JwtError::none) << example.section;
    }
  }
}

TEST(Jwt, OneSpellingOfEachSignature) {
  // The last of 43 digits has two bits to spare; a lenient decoder takes four spellings.
  const std::string& token = examples[0].token;
  const Keys set(examples[0].key);
  ASSERT_EQ(token.back(), 'k');
  for (const char last : {'l', 'm', 'n'}) {
    EXPECT_EQ(verify_signature(set.set, token.substr(0, token.size() - 1) + last), JwtError::malformed);
  }
}

}  // namespace
}  // namespace byoc
