// A set of keys, and what is signed with one of them.
#pragma once

#include "crypto/jwt.h"

#include <gtest/gtest.h>

#include <string>

namespace byoc {

struct Keys {
  Jwks set = {};
  explicit Keys(const std::string& members) {
    EXPECT_EQ(parse_jwks("{\"keys\":[" + members + "]}", set).error, JwksError::none) << members;
  }
  ~Keys() { release(set); }
};

inline JwtError verify_signature(const Jwks& keys, const std::string& token, std::string* out = nullptr) {
  std::uint8_t buffer[jwt_limit];
  std::string_view payload;
  std::uint64_t signer = 0;
  const JwtError error = verify_jws(keys, token, buffer, payload, signer);
  if (error == JwtError::none && out != nullptr) *out = payload;
  return error;
}

}  // namespace byoc
