// Transactions on behalf of tenants: the database verifies the token and decides what it may do.
#pragma once

#include <string>

#include "../secret.h"
#include "connection.h"

namespace byocd {

class TenantDatabase {
 public:
  virtual ~TenantDatabase() = default;

  /// Whether there is a role to act as; without one nothing else is to be called.
  virtual bool configured() const = 0;

  /// Runs the statement in a transaction of its own, within the context that byoc.authenticate(token) sets. Answers its
  /// rows once they are committed, or the first error: 28000 for the token, class 53 or `connection_lost` when this is
  /// not the time. Callbacks come from the loop.
  virtual void run(const SecretString& token, const Statement& statement, Params params, QueryCallback callback) = 0;
};

}  // namespace byocd
