// The check of a Twilio account: is it active, and does it own the number it sends from.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "form.h"
#include "twilio.h"

namespace byocd {

namespace {

using nlohmann::json;
using Kind = Verdict::Kind;

bool with_api_key(const CredentialFields& credential) {
  return find_field(credential, "api_key_sid") != nullptr;
}
bool with_service(const CredentialFields& credential) {
  return find_field(credential, "messaging_service_sid") != nullptr;
}

std::string text_of(const json& document, const char* name) {
  const auto found = document.find(name);
  return found != document.end() && found->is_string() ? found->get<std::string>() : std::string();
}

Verdict refusal(const HttpResponse& response, const json& document) {
  if (response.status == 401)
    return {Kind::failed,
            "Twilio does not accept this SID and secret (20003): copy both again from the Twilio console."};
  if (response.status == 403)
    return {Kind::failed, "Twilio denies this credential access to its account: check the permissions of the key."};
  if (response.status == 404)
    return {Kind::failed, "Twilio does not know this account: copy the account SID again from the Twilio console."};
  const std::string reason = text_of(document, "message");
  return {Kind::failed, fmt::format("Twilio refused the check with HTTP {}{}.", response.status,
                                    reason.empty() ? "" : ": " + reason)};
}

Verdict judge_account(const json& account) {
  const std::string status = text_of(account, "status");
  if (status == "active") return {Kind::next, ""};
  if (status == "suspended")
    return {Kind::failed, "This Twilio account is suspended: add a payment method or contact Twilio's support."};
  if (status == "closed") return {Kind::failed, "This Twilio account is closed: use the SID and token of an open one."};
  return {Kind::retry, "Twilio's answer about the account was not understood."};
}

Verdict judge_numbers(const json& page) {
  const auto numbers = page.find("incoming_phone_numbers");
  if (numbers == page.end() || !numbers->is_array())
    return {Kind::retry, "Twilio's answer about the number was not understood."};
  if (numbers->empty())
    return {Kind::failed,
            "The sender's number is not in this Twilio account: buy it, or pick one under Phone Numbers > Active "
            "Numbers."};
  const json& number = numbers->front();
  const json capabilities = number.is_object() ? number.value("capabilities", json::object()) : json::object();
  if (capabilities.is_object() && capabilities.contains("sms") && capabilities["sms"] == false)
    return {Kind::failed, "The sender's number cannot send SMS: pick one with the SMS capability."};
  return {Kind::verified, ""};
}

}  // namespace

Result<HttpRequest, PrepareError> Twilio::prepare_verification(const CredentialFields& credential, int step) const {
  static const std::string harmless_page = "/Messages.json?PageSize=1";
  if (step == 0) return request_for(credential, with_api_key(credential) ? harmless_page : ".json");
  if (with_service(credential)) return request_for(credential, harmless_page);
  const SecretString* number = find_field(credential, "phone_number");
  if (!number)
    return fail(PrepareError{"credential_incomplete",
                             "The credential names no sender: give it a phone_number or a messaging_service_sid."});
  return request_for(credential, "/IncomingPhoneNumbers.json?PhoneNumber=" + percent_encoded(number->reveal()));
}

Verdict Twilio::interpret_verification(const CredentialFields& credential, int step, const HttpResult& result) const {
  if (!result) return {Kind::retry, "Twilio could not be reached: " + result.error().message};
  const HttpResponse& response = *result;
  if (response.status == 429 || response.status >= 500)
    return {Kind::retry, fmt::format("Twilio answered HTTP {}.", response.status)};
  const json document = json::parse(response.body, nullptr, false);
  if (response.status >= 400) return refusal(response, document.is_object() ? document : json::object());
  if (response.status != 200 || !document.is_object()) return {Kind::retry, "Twilio's answer was not understood."};
  if (step == 0) return with_api_key(credential) ? Verdict{Kind::next, ""} : judge_account(document);
  return with_service(credential) ? Verdict{Kind::verified, ""} : judge_numbers(document);
}

}  // namespace byocd
