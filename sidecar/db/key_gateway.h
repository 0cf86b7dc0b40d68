// The SQL calls of `byocd keyring rewrap` and `reencrypt`. An interface, so that tests need no database.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "session.h"

namespace byocd {

/// An organization whose credentials are not all encrypted by its active key.
struct PendingOrganization {
  std::string id;
  std::int64_t credentials;
};

/// Each call is one transaction.
class KeyGateway {
 public:
  virtual ~KeyGateway() = default;
  /// Data keys that the active master key does not wrap.
  virtual Result<std::int64_t, DbError> keys_to_rewrap() = 0;
  /// Wraps a batch of them; answers how many remain.
  virtual Result<std::int64_t, DbError> rewrap() = 0;
  /// All organizations with something to do, or the one that is named.
  virtual Result<std::vector<PendingOrganization>, DbError> organizations_to_reencrypt(
      const std::optional<std::string>& org_id) = 0;
  /// Encrypts a batch of the organization's credentials; answers how many remain.
  virtual Result<std::int64_t, DbError> reencrypt(const std::string& org_id) = 0;
};

/// Through a session of its own, as a role that has byoc.grant_admin.
class PgKeyGateway final : public KeyGateway {
 public:
  explicit PgKeyGateway(Session session) : session_(std::move(session)) {}
  Result<std::int64_t, DbError> keys_to_rewrap() override;
  Result<std::int64_t, DbError> rewrap() override;
  Result<std::vector<PendingOrganization>, DbError> organizations_to_reencrypt(
      const std::optional<std::string>& org_id) override;
  Result<std::int64_t, DbError> reencrypt(const std::string& org_id) override;

 private:
  Result<std::int64_t, DbError> number(const char* sql, const std::vector<std::optional<std::string>>& params = {});

  Session session_;
};

}  // namespace byocd
