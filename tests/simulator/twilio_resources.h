/// The resources made of an account's configuration: the account itself, its numbers, its verified callers.
#pragma once

#include <string>
#include <string_view>

#include "accounts.h"
#include "http.h"

namespace simulator {

/// An Account resource (https://www.twilio.com/docs/iam/api/account). The auth token is never in it.
std::string account_resource(const account& subject);

/// `IncomingPhoneNumbers.json` with its PhoneNumber and FriendlyName filters; `PhoneNumber` may be a part and may hold
/// `*` for a digit.
answer incoming_numbers(const account& owner, const request& asked);

/// One IncomingPhoneNumber by its `PN` SID
/// (https://www.twilio.com/docs/phone-numbers/api/incomingphonenumber-resource).
answer incoming_number(const account& owner, std::string_view sid, const request& asked);

/// `OutgoingCallerIds.json` with its PhoneNumber and FriendlyName filters.
answer outgoing_callers(const account& owner, const request& asked);

/// One OutgoingCallerId by its `PN` SID (https://www.twilio.com/docs/voice/api/outgoing-caller-ids).
answer outgoing_caller(const account& owner, std::string_view sid, const request& asked);

/// A Messaging Service by the `MG` SID that ends the path (https://www.twilio.com/docs/messaging/api/service-resource).
answer service(const account& owner, const request& asked);

/// Whether `number` contains `pattern`, where `*` stands for any digit. An empty pattern is in every number.
bool number_matches(std::string_view number, std::string_view pattern);

}  // namespace simulator
