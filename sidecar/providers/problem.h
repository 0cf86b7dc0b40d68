// Why something cannot work, told to whoever has to mend it.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "../http/request.h"

namespace byocd {

/// Cause and fix are sentences for a tenant, without a secret.
struct Problem {
  /// Stable, for programs: the provider's code, or one of ours (`account_suspended`, `timeout`, ...).
  std::string code;
  std::string cause;
  std::string fix;
  /// The provider could not be asked: says nothing about the credential.
  bool unreachable = false;

  /// Both sentences.
  std::string text() const { return cause + " " + fix; }
};

/// What is wrong with a number as such, before any provider is asked: not E.164, a placeholder. `whose` begins the
/// sentence, as in `The sender's number`.
std::optional<Problem> number_problem(std::string_view number, std::string_view whose);

/// What a request without a complete answer means. `provider` is a name for people.
Problem failure_problem(const HttpFailure& failure, std::string_view provider);

}  // namespace byocd
