#include "crypto/session_token.h"

#include <gtest/gtest.h>

#include <cstring>
#include <string>

namespace byoc {
namespace {

Keyring one_key() {
  Keyring ring = {};
  EXPECT_TRUE(generate_master_key("2026-01-31", ring.keys[0]));
  ring.count = 1;
  return ring;
}

TenantContext context_of(const char* user) {
  TenantContext context = {};
  context.organization[15] = 9;
  context.expires_at = 1234567890123456;
  context.signer = 0xf122334455667788;
  context.process_id = 4711;
  context.role = OrganizationRole::admin;
  context.user_id_size = static_cast<std::uint8_t>(std::strlen(user));
  std::strcpy(context.user_id, user);
  return context;
}

std::string mint(const Keyring& ring, const TenantContext& context) {
  char token[session_token_capacity];
  EXPECT_EQ(mint_session_token(ring, context, token), TokenError::none);
  return token;
}

TEST(SessionToken, ReadsWhatItMinted) {
  const Keyring ring = one_key();
  for (const std::string& user : {std::string(), std::string("auth0|Zoë"), std::string(user_id_capacity, 'u')}) {
    TenantContext context = {};
    ASSERT_EQ(read_session_token(ring, mint(ring, context_of(user.c_str())), context), TokenError::none);
    EXPECT_EQ(context.organization[15], 9);
    EXPECT_EQ(context.expires_at, 1234567890123456);
    EXPECT_EQ(context.signer, 0xf122334455667788u);
    EXPECT_EQ(context.process_id, 4711);
    EXPECT_EQ(context.role, OrganizationRole::admin);
    EXPECT_EQ(context.user_id, user);
  }
}

TEST(SessionToken, EveryChangedCharacterIsRefused) {
  const Keyring ring = one_key();
  const std::string token = mint(ring, context_of("user"));
  for (std::size_t i = 0; i < token.size(); ++i) {
    for (const char other : {'A', 'B', '.', '='}) {
      if (token[i] == other) continue;
      std::string altered = token;
      altered[i] = other;
      TenantContext context = {};
      EXPECT_NE(read_session_token(ring, altered, context), TokenError::none) << altered;
    }
  }
  for (std::size_t size = 0; size < token.size(); ++size) {
    TenantContext context = {};
    EXPECT_NE(read_session_token(ring, token.substr(0, size), context), TokenError::none) << size;
  }
}

TEST(SessionToken, AnotherRingDoesNotKnowIt) {
  const std::string token = mint(one_key(), context_of("user"));
  TenantContext context = {};
  EXPECT_EQ(read_session_token(one_key(), token, context), TokenError::unknown_key);
}

TEST(SessionToken, AKeyOfTheSameIdIsNotEnough) {
  const Keyring ring = one_key();
  Keyring forged = one_key();
  std::memcpy(forged.keys[0].id, ring.keys[0].id, sizeof ring.keys[0].id);
  TenantContext context = {};
  EXPECT_EQ(read_session_token(ring, mint(forged, context_of("user")), context), TokenError::bad_signature);
}

TEST(SessionToken, ARetiredKeyStillVerifies) {
  Keyring ring = one_key();
  const std::string token = mint(ring, context_of("user"));
  ring.keys[0].active = false;
  EXPECT_TRUE(generate_master_key("2026-02-01", ring.keys[1]));
  ring.count = 2;
  TenantContext context = {};
  EXPECT_EQ(read_session_token(ring, token, context), TokenError::none);
}

TEST(SessionToken, IsToldApartFromAJwt) {
  EXPECT_TRUE(is_session_token("byoc1.abc.def"));
  EXPECT_FALSE(is_session_token("eyJhbGciOiJIUzI1NiJ9.e30.x"));
  EXPECT_FALSE(is_session_token(""));
}

}  // namespace
}  // namespace byoc
