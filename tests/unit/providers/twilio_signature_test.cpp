#include "providers/twilio_signature.h"

#include <gtest/gtest.h>

#include <string>

namespace byocd {
namespace {

constexpr const char* utf8_form_type = "application/x-www-form-urlencoded; charset=utf-8";

// The example of https://www.twilio.com/docs/usage/security#validating-requests.
SignedRequest documented() {
  return {"https://mycompany.com/myapp.php?foo=1&bar=2", utf8_form_type,
          "Digits=1234&To=%2B18005551212&From=%2B12349013030&Caller=%2B12349013030&CallSid=CA1234567890ABCDE",
          "0/KCTR6DLpKmkAf8muzZqo1nDgQ="};
}

// The examples of Twilio's own libraries' tests (twilio-node, spec/validation.spec.js).
SignedRequest of_the_libraries() {
  return {"https://mycompany.com/myapp.php?foo=1&bar=2", utf8_form_type,
          "CallSid=CA1234567890ABCDE&Caller=%2B14158675309&Digits=1234&From=%2B14158675309&To=%2B18005551212",
          "RSOYDt4T1cUTdK1PDd93/VVr8B8="};
}

TEST(TwilioSignature, MatchesTheDocumentedExamples) {
  EXPECT_TRUE(is_signed_by("12345", documented()));
  EXPECT_TRUE(is_signed_by("12345", of_the_libraries()));
}

TEST(TwilioSignature, APortMayOrMayNotBeSigned) {
  auto request = documented();
  request.url = "https://mycompany.com:443/myapp.php?foo=1&bar=2";
  EXPECT_TRUE(is_signed_by("12345", request));
  request.url = "https://mycompany.com:8443/myapp.php?foo=1&bar=2";
  EXPECT_TRUE(is_signed_by("12345", request));
  request.url = "https://mycompany.com/myapp.php?foo=1&bar=2";
  // Computed with Python over https://mycompany.com:443/...
  request.signature = "EpDEmp1PyjDYp77YxYU3GILBWzE=";
  EXPECT_TRUE(is_signed_by("12345", request));
}

TEST(TwilioSignature, EveryPartCounts) {
  EXPECT_FALSE(is_signed_by("12346", documented()));
  auto request = documented();
  request.url = "http://mycompany.com/myapp.php?foo=1&bar=2";
  EXPECT_FALSE(is_signed_by("12345", request));
  request = documented();
  request.url = "https://mycompany.com/myapp.php?foo=1&bar=3";
  EXPECT_FALSE(is_signed_by("12345", request));
  request = documented();
  const std::string more = std::string(request.body) + "&More=1";
  request.body = more;
  EXPECT_FALSE(is_signed_by("12345", request));
  for (const char* signature : {"", "0/KCTR6DLpKmkAf8muzZqo1nDgQ", "0/KCTR6DLpKmkAf8muzZqo1nDgQ=x", "nonsense"}) {
    request = documented();
    request.signature = signature;
    EXPECT_FALSE(is_signed_by("12345", request)) << signature;
  }
}

TEST(TwilioSignature, OrderAndRepetitionOfFieldsDoNot) {
  auto request = documented();
  request.body =
      "CallSid=CA1234567890ABCDE&To=%2B18005551212&From=%2B12349013030&Digits=1234&Digits=1234&Caller=%2B12349013030";
  EXPECT_TRUE(is_signed_by("12345", request));
}

TEST(TwilioSignature, OtherBodiesCountByTheirHash) {
  // Twilio's libraries' example: the hash is part of the URL, the body of nothing else.
  const std::string body = "{\"property\": \"value\", \"boolean\": true}";
  const std::string url =
      "https://mycompany.com/myapp.php?foo=1&bar=2"
      "&bodySHA256=0a1ff7634d9ab3b95db5c9a2dfe9416e41502b283a80c7cf19632632f96e6620";
  SignedRequest request{url, "application/json", body, "a9nBmqA0ju/hNViExpshrM61xv4="};
  EXPECT_TRUE(is_signed_by("12345", request));
  const std::string altered = body + " ";
  request.body = altered;
  EXPECT_FALSE(is_signed_by("12345", request));
  // A good signature of a URL without hash says nothing about a body.
  request = {"https://mycompany.com/myapp.php?foo=1&bar=2", "application/json", "{}", "zYQTYrRWXE7LtzbG4PfP7/bkkGo="};
  EXPECT_FALSE(is_signed_by("12345", request));
}

}  // namespace
}  // namespace byocd
