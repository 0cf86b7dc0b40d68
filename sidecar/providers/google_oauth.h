// Google's OAuth 2.0 for web server applications (https://developers.google.com/identity/protocols/oauth2/web-server).
#pragma once

#include <memory>
#include <string>

#include "oauth.h"

namespace byocd {

class GoogleOAuth final : public OAuthProvider {
 public:
  /// `base_url` empty: Google's own hosts. Otherwise one address, without a slash at its end, for the paths of them
  /// all. `client`: the deployment's, or nullptr.
  GoogleOAuth(const std::string& base_url, std::shared_ptr<const OAuthClient> client);

  std::string authorization_url(const AuthorizationRequest& request) const override;
  HttpRequest prepare_exchange(const AuthorizationCode& code, const OAuthClient& client) const override;
  Result<TokenGrant, Problem> interpret_exchange(const HttpResult& result) const override;
  /// Fields: `refresh_token`; `client_id` and `client_secret`, or neither secret nor another id than the deployment's.
  Result<HttpRequest, Problem> prepare_refresh(const CredentialFields& credential) const override;
  Result<TokenGrant, Problem> interpret_refresh(const HttpResult& result) const override;
  HttpRequest prepare_revocation(const SecretString& token) const override;
  std::optional<Problem> interpret_revocation(const HttpResult& result) const override;
  const OAuthClient* deployment_client() const override { return client_.get(); }

 private:
  std::string authorization_address_;
  std::string token_address_;
  std::string revocation_address_;
  std::shared_ptr<const OAuthClient> client_;
};

}  // namespace byocd
