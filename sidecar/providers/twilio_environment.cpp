#include "twilio_environment.h"

#include "twilio_fields.h"

namespace byocd {

Result<CredentialFields, Problem> twilio_environment(
    const std::function<std::optional<std::string>(const std::string&)>& environment) {
  CredentialFields fields;
  for (const TwilioField& field : twilio_fields()) {
    auto value = environment(field.variable);
    if (!value || value->empty()) continue;
    SecretString secret(*value);
    OPENSSL_cleanse(value->data(), value->size());
    if (auto problem = field_problem(field, field.variable, secret)) {
      problem->code = "environment_malformed";
      return fail(std::move(*problem));
    }
    fields.emplace(field.name, std::move(secret));
  }
  if (auto problem = incomplete_fields(fields, [](const TwilioField& field) { return field.variable; }))
    return fail(Problem{"environment_missing", problem->cause,
                        "Set it in the environment; byocd setup --env-file writes a file with all of them."});
  return fields;
}

}  // namespace byocd
