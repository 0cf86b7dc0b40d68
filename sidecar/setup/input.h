// Where the values of a credential come from, besides the environment: a person, or JSON.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "../providers/provider.h"

namespace byocd {

/// As ask() in terminal.h.
using Ask = std::function<std::optional<SecretString>(const std::string& question, bool hidden)>;
using Tell = std::function<void(const std::string& sentence)>;

/// Asks for account, secret and sender; for each at most three times when the answer cannot be right.
Result<CredentialFields, Problem> ask_for_fields(const Ask& ask, const Tell& tell);

/// `{"account_sid": "AC...", "auth_token": "...", "phone_number": "+1..."}`: fields of byoc.providers. Problems never
/// quote the text.
Result<CredentialFields, Problem> read_fields_json(std::string_view text);

/// The same from a file descriptor, to its end.
Result<CredentialFields, Problem> read_fields_from(int descriptor);

}  // namespace byocd
