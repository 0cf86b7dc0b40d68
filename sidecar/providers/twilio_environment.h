// The Twilio credential of the old way: environment variables.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "problem.h"
#include "provider.h"

namespace byocd {

/// TWILIO_ACCOUNT_SID with TWILIO_AUTH_TOKEN, or with TWILIO_API_KEY and TWILIO_API_SECRET; TWILIO_PHONE_NUMBER or
/// TWILIO_MESSAGING_SERVICE_SID. An empty variable counts as absent. The number's form is not looked at
/// (number_problem).
///
/// Problems: `environment_missing` (a variable is not set), `environment_malformed`. They name variables and never
/// quote a value.
Result<CredentialFields, Problem> twilio_environment(
    const std::function<std::optional<std::string>(const std::string&)>& environment);

}  // namespace byocd
