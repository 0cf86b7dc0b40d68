// The database calls about what users grant at a provider, and what is revoked there.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "../secret.h"
#include "connection.h"
#include "gateway.h"

namespace byocd {

/// A browser that is back from the provider.
struct TakenState {
  std::string org_id;
  std::string provider;
  std::string client_id;
  /// Empty: the deployment's client.
  SecretString client_secret;
};

/// Access to be taken away at the provider.
struct Revocation {
  std::string org_id;
  std::string id;
  std::string provider;
  SecretString refresh_token;
};

/// Callbacks come from the loop.
class OAuthGateway {
 public:
  virtual ~OAuthGateway() = default;

  virtual bool ready() const = 0;
  /// byoc.take_oauth_state: nothing for a state that is good no more, or another browser's. Both are SHA-256 digests.
  virtual void take_state(const std::string& state_hash, const std::string& browser_hash,
                          DbCallback<std::optional<TakenState>> callback) = 0;
  /// byoc.add_credential_by_oauth: answers the credential's id. `account` may be empty.
  virtual void add_credential(const std::string& state_hash, const SecretString& refresh_token,
                              const std::string& account, DbCallback<std::string> callback) = 0;
  /// byoc.claim_provider_revocations and byoc.record_provider_revocation
  virtual void claim_revocations(int max_count, DbCallback<std::vector<Revocation>> callback) = 0;
  virtual void record_revocation(const std::string& org_id, const std::string& id, bool revoked,
                                 DbCallback<Done> callback) = 0;
};

/// On a connection that others have opened.
class PgOAuthGateway final : public OAuthGateway {
 public:
  explicit PgOAuthGateway(Connection& connection) : connection_(connection) {}

  bool ready() const override { return connection_.ready(); }
  void take_state(const std::string& state_hash, const std::string& browser_hash,
                  DbCallback<std::optional<TakenState>> callback) override;
  void add_credential(const std::string& state_hash, const SecretString& refresh_token, const std::string& account,
                      DbCallback<std::string> callback) override;
  void claim_revocations(int max_count, DbCallback<std::vector<Revocation>> callback) override;
  void record_revocation(const std::string& org_id, const std::string& id, bool revoked,
                         DbCallback<Done> callback) override;

 private:
  Connection& connection_;
};

/// Bytes as a bytea parameter.
std::string bytea(std::string_view bytes);

}  // namespace byocd
