// Authorization by OAuth 2.0 (RFC 6749) with PKCE (RFC 7636), as one provider does it: pure, as all adapters.
#pragma once

#include <chrono>
#include <optional>
#include <string>

#include "../db/job.h"
#include "../http/request.h"
#include "problem.h"

namespace byocd {

/// What the provider knows an application by.
struct OAuthClient {
  std::string id;
  SecretString secret;
};

/// What a browser is sent to the provider with.
struct AuthorizationRequest {
  std::string client_id;
  /// Where it shall be sent back to.
  std::string redirect_uri;
  std::string state;
  /// Made of the verifier that proves the exchange (S256).
  std::string code_challenge;
};

/// The code that the browser brought back, to be exchanged for tokens.
struct AuthorizationCode {
  SecretString code;
  std::string redirect_uri;
  SecretString verifier;
};

struct TokenGrant {
  SecretString access_token;
  /// Empty: none came.
  SecretString refresh_token;
  std::chrono::seconds expires_in{0};
  /// Whose access it is, for people; empty: the provider did not say.
  std::string account;
};

class OAuthProvider {
 public:
  virtual ~OAuthProvider() = default;

  /// The address of the page that asks the user.
  virtual std::string authorization_url(const AuthorizationRequest& request) const = 0;

  virtual HttpRequest prepare_exchange(const AuthorizationCode& code, const OAuthClient& client) const = 0;
  /// Good only with a refresh token, and with everything allowed that is needed.
  virtual Result<TokenGrant, Problem> interpret_exchange(const HttpResult& result) const = 0;

  /// A new access token for a credential; or why it can have none.
  virtual Result<HttpRequest, Problem> prepare_refresh(const CredentialFields& credential) const = 0;
  virtual Result<TokenGrant, Problem> interpret_refresh(const HttpResult& result) const = 0;

  /// Takes the access away that the token stands for.
  virtual HttpRequest prepare_revocation(const SecretString& token) const = 0;
  /// Nothing once the token is good for nothing any more; otherwise why it may still be.
  virtual std::optional<Problem> interpret_revocation(const HttpResult& result) const = 0;

  /// The client of the whole deployment, for credentials that have none of their own; nullptr: there is none.
  virtual const OAuthClient* deployment_client() const = 0;
};

}  // namespace byocd
