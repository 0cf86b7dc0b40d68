#include "twilio_environment.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>

namespace byocd {

namespace {

// `field` as byoc.providers names it; `prefix` and 32 characters more, or anything.
struct Variable {
  const char* name;
  const char* field;
  const char* prefix = nullptr;
  bool hexadecimal = true;
};

constexpr Variable account{"TWILIO_ACCOUNT_SID", "account_sid", "AC"};
constexpr Variable token{"TWILIO_AUTH_TOKEN", "auth_token", "", false};
constexpr Variable key{"TWILIO_API_KEY", "api_key_sid", "SK"};
constexpr Variable key_secret{"TWILIO_API_SECRET", "api_key_secret", "", false};
constexpr Variable number{"TWILIO_PHONE_NUMBER", "phone_number"};
constexpr Variable service{"TWILIO_MESSAGING_SERVICE_SID", "messaging_service_sid", "MG"};

constexpr std::size_t digits = 32;

bool is_well_formed(const Variable& variable, const std::string& value) {
  if (!variable.prefix) return true;
  const std::string_view prefix = variable.prefix;
  return value.starts_with(prefix) && value.size() == prefix.size() + digits &&
         std::all_of(value.begin() + static_cast<std::ptrdiff_t>(prefix.size()), value.end(), [&](unsigned char c) {
           return variable.hexadecimal ? std::isxdigit(c) != 0 : std::isalnum(c) != 0;
         });
}

Problem malformed(const Variable& variable) {
  const std::string_view prefix = variable.prefix;
  const char* kind = variable.hexadecimal ? "hexadecimal digits" : "letters and digits";
  return {"environment_malformed",
          prefix.empty() ? fmt::format("{} is not {} {}.", variable.name, digits, kind)
                         : fmt::format("{} is not {} followed by {} {}.", variable.name, prefix, digits, kind),
          "Copy it again from the Twilio console, without blanks or quotes."};
}

}  // namespace

Result<CredentialFields, Problem> twilio_environment(
    const std::function<std::optional<std::string>(const std::string&)>& environment) {
  CredentialFields fields;
  for (const auto& variable : {account, token, key, key_secret, number, service}) {
    auto value = environment(variable.name);
    if (!value || value->empty()) continue;
    const bool good = is_well_formed(variable, *value);
    fields.emplace(variable.field, SecretString(*value));
    OPENSSL_cleanse(value->data(), value->size());
    if (!good) return fail(malformed(variable));
  }
  const auto has = [&](const Variable& variable) { return find_field(fields, variable.field) != nullptr; };
  const auto missing = [](std::string what) {
    return fail(Problem{"environment_missing", fmt::format("{} is not set.", what),
                        "Set it in the environment; byocd setup --env-file writes a file with all of them."});
  };
  if (!has(account)) return missing(account.name);
  if (has(key) != has(key_secret)) return missing(has(key) ? key_secret.name : key.name);
  if (!has(token) && !has(key)) return missing(token.name);
  if (!has(number) && !has(service)) return missing(number.name);
  return fields;
}

}  // namespace byocd
