/// What Twilio refuses when a message is created, and in which order it looks.
#pragma once

#include <optional>
#include <string_view>

#include "accounts.h"
#include "form.h"
#include "twilio_errors.h"

namespace simulator {

/// Whether `number` is an E.164 number that could be dialled: `+`, 7 to 15 digits, and ten of them after the country
/// code 1.
bool is_dialable(std::string_view number);

/// The first reason to refuse the create request `fields` of `sender`; nothing when the message is to be accepted.
/// Follows the magic numbers of Twilio's test credentials (https://www.twilio.com/docs/iam/test-credentials) for every
/// account.
std::optional<twilio_error> refusal(const account& sender, const form& fields);

/// The number that a Messaging Service of `owner` sends from once it has picked one.
std::string_view service_sender(const account& owner, const messaging_service& service);

}  // namespace simulator
