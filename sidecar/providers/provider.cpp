#include "provider.h"

namespace byocd {

const SecretString* find_field(const CredentialFields& credential, std::string_view name) {
  const auto found = credential.find(name);
  return found == credential.end() || found->second.empty() ? nullptr : &found->second;
}

}  // namespace byocd
