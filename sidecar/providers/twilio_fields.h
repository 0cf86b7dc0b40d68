// The fields of a Twilio credential, as people and machines outside of the database give them.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "../secret.h"
#include "provider.h"

namespace byocd {

/// One field: its name in byoc.providers, and the environment variable of the old way.
struct TwilioField {
  const char* name;
  const char* variable;
  /// What a value looks like, as in `AC followed by 32 hexadecimal digits`.
  const char* must_be;
  bool (*is_well_formed)(std::string_view value);
};

/// All of them, in the order in which people are asked.
const std::vector<TwilioField>& twilio_fields();

/// nullptr when there is none of that name.
const TwilioField* find_twilio_field(std::string_view name);

/// `called`: what the user knows the field by. The value is never quoted. Phone numbers are looked at by
/// number_problem.
std::optional<Problem> field_problem(const TwilioField& field, std::string_view called, const SecretString& value);

/// What the user knows a field by: its name, or its variable.
using FieldNames = std::function<std::string(const TwilioField&)>;

/// What is missing to send with them.
std::optional<Problem> incomplete_fields(const CredentialFields& fields, const FieldNames& called);

}  // namespace byocd
