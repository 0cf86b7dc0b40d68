// A file with a credential as environment variables.
#pragma once

#include <string>
#include <string_view>

#include "../providers/provider.h"

namespace byocd {

/// `text` with the variables of `fields` set: in their lines (`NAME=...`, also behind `export` or, as an empty example,
/// behind `#`), else at the end. Lines of the credential's other variables go: they would be used instead. All other
/// lines stay as they are.
SecretString merge_env(std::string_view text, const CredentialFields& fields);

/// The refusal to change a file.
Problem env_file_exists(const std::string& path);

/// Writes the file, mode 0600, as a whole or not at all: from .env.example when there is none. One that exists is only
/// changed with `force`.
Result<Done, Problem> write_env_file(const std::string& path, const CredentialFields& fields, bool force);

}  // namespace byocd
