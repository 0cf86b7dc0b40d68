// `byocd keyring rewrap` and `byocd keyring reencrypt`: long runs in small transactions.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "db/key_gateway.h"

namespace byocd {

/// What a run needs from its surroundings.
struct RotationTerms {
  std::function<bool()> interrupted;               // asked between batches
  std::function<void()> wait;                      // when another session holds what remains
  std::function<void(const std::string&)> write;   // progress
  std::function<void(const std::string&)> report;  // one line of error or interruption
  bool terminal = false;
};

/// Each answers an exit code: 0 all done, 1 refused or interrupted with work left, 3 the database was lost. Nothing
/// that was done is lost: the next call goes on.
int rewrap_all(KeyGateway& gateway, const RotationTerms& terms);
int reencrypt_all(KeyGateway& gateway, const std::optional<std::string>& org_id, const RotationTerms& terms);

/// The commands: connect, run until done or Ctrl-C, answer the exit code (3: the database cannot be reached).
int keyring_rewrap(const std::string& conninfo);
int keyring_reencrypt(const std::string& conninfo, const std::optional<std::string>& org_id);

}  // namespace byocd
