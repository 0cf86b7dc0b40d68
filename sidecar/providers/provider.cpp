#include "provider.h"

namespace byocd {

const SecretString* find_field(const CredentialFields& credential, std::string_view name) {
  const auto found = credential.find(name);
  return found == credential.end() || found->second.empty() ? nullptr : &found->second;
}

Verdict verdict_of(Problem problem) {
  const auto kind = problem.unreachable ? Verdict::Kind::retry : Verdict::Kind::failed;
  return {kind, std::move(problem)};
}

}  // namespace byocd
