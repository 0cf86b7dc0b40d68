// The SQL calls of `byocd setup`: stores a credential as an organization's owner.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "../providers/problem.h"
#include "../secret.h"
#include "job.h"
#include "session.h"

namespace byocd {

/// Who stores: with a user's token in that one's name and organization, else, as a role with byoc.grant_admin, in that
/// of any organization.
class SetupGateway {
 public:
  SetupGateway(Session session, SecretString token) : session_(std::move(session)), token_(std::move(token)) {}

  struct Organization {
    std::string id;
    std::string name;
    /// The twilio credential that it sends with; empty when it has none. The names of its fields.
    std::string credential_id;
    std::vector<std::string> credential_fields;
  };

  /// The organization `id`, or with a token and an empty `id` that of the token.
  Result<Organization, Problem> find(const std::string& id);
  /// Answers the credential's id: the one that it has, changed, or a new one. `name` creates an organization first, in
  /// the same transaction; then `organization.id` is set.
  Result<std::string, Problem> store(Organization& organization, const std::optional<std::string>& name,
                                     const CredentialFields& fields);

 private:
  Result<Done, Problem> act_for(Organization& organization);
  Result<std::string, Problem> value(const char* sql, const std::vector<std::optional<std::string>>& params = {});
  template <class T, class Work>
  Result<T, Problem> in_transaction(Work work);

  Session session_;
  SecretString token_;
};

}  // namespace byocd
