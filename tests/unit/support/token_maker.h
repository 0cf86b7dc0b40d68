// Signs tokens with OpenSSL itself, so that cjose is not tested with what cjose made.
#pragma once

#include "crypto/base64.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rsa.h>

#include <memory>
#include <string>
#include <vector>

namespace byoc {

inline std::string base64url(const std::string& bytes) {
  std::vector<char> text(base64_length(bytes.size()) + 1);
  return {text.data(),
          base64url_encode(reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size(), text.data())};
}

class KeyPair {
 public:
  explicit KeyPair(EVP_PKEY* pair) : pair_(pair, EVP_PKEY_free) {}
  static KeyPair rsa(unsigned bits) { return KeyPair(EVP_RSA_gen(bits)); }
  static KeyPair p256() { return KeyPair(EVP_EC_gen("P-256")); }

  std::string number(const char* name) const {
    BIGNUM* value = nullptr;
    EVP_PKEY_get_bn_param(pair_.get(), name, &value);
    std::string bytes(static_cast<std::size_t>(BN_num_bytes(value)), '\0');
    BN_bn2bin(value, reinterpret_cast<unsigned char*>(bytes.data()));
    BN_free(value);
    return bytes;
  }

  // The public key as a JWK; `more` is further members, beginning with a comma.
  std::string jwk(const std::string& more = "") const {
    if (EVP_PKEY_base_id(pair_.get()) == EVP_PKEY_RSA) {
      return R"({"kty":"RSA","n":")" + base64url(number(OSSL_PKEY_PARAM_RSA_N)) + R"(","e":")" +
             base64url(number(OSSL_PKEY_PARAM_RSA_E)) + '"' + more + '}';
    }
    return R"({"kty":"EC","crv":"P-256","x":")" + base64url(padded(number(OSSL_PKEY_PARAM_EC_PUB_X))) + R"(","y":")" +
           base64url(padded(number(OSSL_PKEY_PARAM_EC_PUB_Y))) + '"' + more + '}';
  }

  // RS256, or PS256 with a salt of `salt` bytes, or ES256.
  std::string sign(const std::string& text, int salt = -1) const {
    std::unique_ptr<EVP_MD_CTX, void (*)(EVP_MD_CTX*)> context(EVP_MD_CTX_new(), EVP_MD_CTX_free);
    EVP_PKEY_CTX* options = nullptr;
    EVP_DigestSignInit(context.get(), &options, EVP_sha256(), nullptr, pair_.get());
    if (salt >= 0) {
      EVP_PKEY_CTX_set_rsa_padding(options, RSA_PKCS1_PSS_PADDING);
      EVP_PKEY_CTX_set_rsa_pss_saltlen(options, salt);
    }
    std::string out(1024, '\0');
    std::size_t size = out.size();
    EVP_DigestSign(context.get(), reinterpret_cast<unsigned char*>(out.data()), &size,
                   reinterpret_cast<const unsigned char*>(text.data()), text.size());
    out.resize(size);
    return EVP_PKEY_base_id(pair_.get()) == EVP_PKEY_EC ? joined(out) : out;
  }

 private:
  static std::string padded(const std::string& bytes) { return std::string(32 - bytes.size(), '\0') + bytes; }

  // r || s of a DER signature: RFC 7518, section 3.4.
  static std::string joined(const std::string& der) {
    const auto* at = reinterpret_cast<const unsigned char*>(der.data());
    std::unique_ptr<ECDSA_SIG, void (*)(ECDSA_SIG*)> parsed(d2i_ECDSA_SIG(nullptr, &at, static_cast<long>(der.size())),
                                                            ECDSA_SIG_free);
    std::string out(64, '\0');
    BN_bn2binpad(ECDSA_SIG_get0_r(parsed.get()), reinterpret_cast<unsigned char*>(out.data()), 32);
    BN_bn2binpad(ECDSA_SIG_get0_s(parsed.get()), reinterpret_cast<unsigned char*>(out.data()) + 32, 32);
    return out;
  }

  std::shared_ptr<EVP_PKEY> pair_;
};

// Made once: it takes time.
inline const KeyPair& rsa() {
  static const KeyPair pair = KeyPair::rsa(2048);
  return pair;
}
inline const KeyPair& p256() {
  static const KeyPair pair = KeyPair::p256();
  return pair;
}

inline std::string hmac(const EVP_MD* hash, const std::string& secret, const std::string& text) {
  unsigned char mac[EVP_MAX_MD_SIZE];
  unsigned size = 0;
  HMAC(hash, secret.data(), static_cast<int>(secret.size()), reinterpret_cast<const unsigned char*>(text.data()),
       text.size(), mac, &size);
  return {reinterpret_cast<const char*>(mac), size};
}

inline std::string signing_input(const std::string& header, const std::string& claims) {
  return base64url(header) + '.' + base64url(claims);
}

inline std::string secret_jwk(const std::string& secret, const std::string& more = "") {
  return R"({"kty":"oct","k":")" + base64url(secret) + '"' + more + '}';
}

}  // namespace byoc
