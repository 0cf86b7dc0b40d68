#include "signature.h"

#include <gtest/gtest.h>

#include "base64.h"

namespace simulator {
namespace {

/// The example of https://www.twilio.com/docs/usage/security#validating-requests.
form documented_fields() {
  form fields;
  fields.add("Digits", "1234");
  fields.add("To", "+18005551212");
  fields.add("From", "+12349013030");
  fields.add("Caller", "+12349013030");
  fields.add("CallSid", "CA1234567890ABCDE");
  return fields;
}

TEST(signature, matches_twilios_documented_example) {
  EXPECT_EQ(twilio_signature("12345", "https://mycompany.com/myapp.php?foo=1&bar=2", documented_fields()),
            "0/KCTR6DLpKmkAf8muzZqo1nDgQ=");
}

TEST(signature, leaves_the_fragment_out) {
  EXPECT_EQ(twilio_signature("12345", "https://mycompany.com/myapp.php?foo=1&bar=2#rc=5&rp=all", documented_fields()),
            "0/KCTR6DLpKmkAf8muzZqo1nDgQ=");
  EXPECT_EQ(without_fragment("http://a/b?c#d#e"), "http://a/b?c");
}

TEST(signature, depends_on_every_part) {
  const auto good = twilio_signature("12345", "https://mycompany.com/", documented_fields());
  EXPECT_NE(good, twilio_signature("12346", "https://mycompany.com/", documented_fields()));
  EXPECT_NE(good, twilio_signature("12345", "http://mycompany.com/", documented_fields()));
  auto more = documented_fields();
  more.add("Extra", "1");
  EXPECT_NE(good, twilio_signature("12345", "https://mycompany.com/", more));
}

TEST(base64, follows_rfc_4648_examples) {
  for (const auto& [plain, encoded] :
       {std::pair{"", ""}, {"f", "Zg=="}, {"fo", "Zm8="}, {"foo", "Zm9v"}, {"foobar", "Zm9vYmFy"}}) {
    EXPECT_EQ(base64_encode(plain), encoded);
    EXPECT_EQ(base64_decode(encoded), plain);
  }
  EXPECT_FALSE(base64_decode("Zg"));
  EXPECT_FALSE(base64_decode("Z*=="));
}

}  // namespace
}  // namespace simulator
