#include "redact.h"

#include <gtest/gtest.h>

namespace byocd {
namespace {

TEST(Redact, MasksNumbers) {
  EXPECT_EQ(masked_number("+14155550100"), "+1…00");
  EXPECT_EQ(masked_number("12345"), "…");
  EXPECT_EQ(redacted("to +14155550100, from +15005550006."), "to +1…00, from +1…06.");
  EXPECT_EQ(redacted("To=%2B14155550100&x"), "To=%2…00&x");
}

TEST(Redact, HidesTokensButNotSids) {
  EXPECT_EQ(redacted("token 0123456789abcdef0123456789abcdef!"), "token …!");
  EXPECT_EQ(redacted("sid ACdeadbeefdeadbeefdeadbeefdeadbeef"), "sid ACdeadbeefdeadbeefdeadbeefdeadbeef");
  EXPECT_EQ(redacted("key QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVowMTIzNDU="), "key …");
  EXPECT_EQ(redacted("eyJhbGciOiJIUzI1NiJ9.eyJvcmdfaWQiOiJ4In0.c2lnbmF0dXJl end"), "… end");
}

TEST(Redact, HidesCredentialsOfHeadersAndAddresses) {
  EXPECT_EQ(redacted("Authorization: Basic QUMwMDA6c2VjcmV0dG9rZW4="), "Authorization: Basic …");
  EXPECT_EQ(redacted("authorization: bearer abcdefghij.klmnopqrst"), "authorization: bearer …");
  EXPECT_EQ(redacted("postgresql://app:s3cr@t@db/x failed"), "postgresql://…@db/x failed");
  EXPECT_EQ(redacted("host=db password=hunter2 user=x"), "host=db password=… user=x");
  EXPECT_EQ(redacted("password='with a space' user=x"), "password=… user=x");
}

TEST(Redact, LeavesOrdinaryTextAlone) {
  for (const char* text : {"claimed 64 of 64 jobs", "basic checks passed", "3 + 4 = 7", "at http://127.0.0.1:8080/x",
                           "message 0191c0de-0000-7000-8000-000000000001", "+123456", ""})
    EXPECT_EQ(redacted(text), text);
}

}  // namespace
}  // namespace byocd
