// The check of a Twilio account: is it active, does it own the number it sends from, whom may it send to.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "../json.h"
#include "form.h"
#include "json_members.h"
#include "twilio.h"
#include "twilio_problems.h"

namespace byocd {

namespace {

using nlohmann::json;
using Kind = Verdict::Kind;

bool with_api_key(const CredentialFields& credential) {
  return find_field(credential, "api_key_sid") != nullptr;
}
const SecretString* service_of(const CredentialFields& credential) {
  return find_field(credential, "messaging_service_sid");
}

// The document of a good answer.
Result<json, Problem> read_answer(const HttpResult& result) {
  if (!result) return fail(failure_problem(result.error(), "Twilio"));
  if (result->status != 200) return fail(twilio_answer_problem(*result));
  json document = parse_json(result->body);
  if (!document.is_object()) return fail(foreign_answer_problem(result->status));
  return document;
}

// The list `name` of a good answer.
Result<json, Problem> read_list(const HttpResult& result, const char* name) {
  auto document = read_answer(result);
  if (!document) return document;
  const auto list = document->find(name);
  if (list == document->end() || !list->is_array()) return fail(foreign_answer_problem(result->status));
  return *list;
}

// The request, or why the credential cannot make it.
Result<HttpRequest, Problem> told(Result<HttpRequest, PrepareError> request) {
  if (request) return std::move(*request);
  return fail(Problem{request.error().code, "The credential is incomplete: " + request.error().message + ".",
                      "Enter it again."});
}

Verdict judge_twilio_account(const json& account) {
  const std::string status = text_member(account, "status").value_or("");
  const auto type = text_member(account, "type");
  Verdict verdict{Kind::next, {}};
  verdict.on_trial = type == "Trial";
  for (const auto& [title, value] :
       {std::pair("account", text_member(account, "friendly_name")), std::pair("status", std::optional(status)),
        std::pair("type", type), std::pair("created", text_member(account, "date_created"))})
    if (value) verdict.details.emplace_back(title, *value);
  if (status == "suspended") {
    verdict.kind = Kind::failed;
    verdict.problem = {"account_suspended",
                       "This Twilio account is suspended, perhaps because its trial credit is used up.",
                       "Add a payment method in the Twilio console, or contact Twilio's support."};
  } else if (status == "closed") {
    verdict.kind = Kind::failed;
    verdict.problem = {"account_closed", "This Twilio account is closed.",
                       "Open a new account, or use the SID and token of an open one."};
  } else if (status != "active") {
    return verdict_of(foreign_answer_problem(200));
  }
  return verdict;
}

Verdict judge_service(const std::string& sid, const HttpResult& result) {
  const auto found = read_answer(result);
  if (found) return {Kind::verified, {}, {{"sender", "Messaging Service " + sid + ", in this account"}}};
  return verdict_of(result && result->status == 404 ? twilio_problem("21701", "") : found.error());
}

Verdict judge_number(const json& numbers, const std::string& wanted) {
  for (const json& number : numbers) {
    // Twilio's filter also finds what only contains the digits.
    if (!number.is_object() || text_member(number, "phone_number") != wanted) continue;
    const json capabilities = number.value("capabilities", json::object());
    if (capabilities.is_object() && capabilities.contains("sms") && capabilities["sms"] == false)
      return verdict_of({"number_without_sms", "The sender's number cannot send SMS.",
                         "Pick one with the SMS capability under Phone Numbers > Active Numbers."});
    return {Kind::verified, {}, {{"sender", wanted + ", in this account, can send SMS"}}};
  }
  return verdict_of({"number_not_in_account", "The sender's number is not in this Twilio account.",
                     "Buy it, or pick one under Phone Numbers > Active Numbers."});
}

Verdict judge_sender(const CredentialFields& credential, const HttpResult& result) {
  if (const SecretString* service = service_of(credential)) return judge_service(service->reveal(), result);
  const auto numbers = read_list(result, "incoming_phone_numbers");
  if (!numbers) return verdict_of(numbers.error());
  return judge_number(*numbers, find_field(credential, "phone_number")->reveal());
}

}  // namespace

Result<HttpRequest, Problem> Twilio::prepare_verification(const CredentialFields& credential, int step) const {
  std::string path;
  if (step == 0) {
    path = with_api_key(credential) ? "/Messages.json?PageSize=1" : ".json";
  } else if (const SecretString* service = service_of(credential)) {
    return told(request_to(credential, "/v1/Services/" + percent_encoded(service->reveal()), "messaging"));
  } else {
    const SecretString* number = find_field(credential, "phone_number");
    if (!number)
      return fail(Problem{"credential_incomplete", "The credential names no sender.",
                          "Give it a phone_number or a messaging_service_sid."});
    if (auto problem = number_problem(number->reveal(), "The sender's number")) return fail(std::move(*problem));
    path = "/IncomingPhoneNumbers.json?PhoneNumber=" + percent_encoded(number->reveal());
  }
  return told(request_for(credential, path));
}

Verdict Twilio::interpret_verification(const CredentialFields& credential, int step, const HttpResult& result) const {
  if (step == 0) {
    auto account = read_answer(result);
    if (!account) return verdict_of(std::move(account.error()));
    if (!with_api_key(credential)) return judge_twilio_account(*account);
    return {Kind::next, {}, {{"account", "accepts this API key (its name and status only show to the auth token)"}}};
  }
  if (!with_api_key(credential)) return judge_sender(credential, result);
  if (result && (result->status == 401 || result->status == 403)) {
    Verdict unread{Kind::verified, {}, {{"sender", "not checked: this API key may not read the account's senders"}}};
    unread.note =
        "This API key may read neither the account nor its senders, so whether they can be used shows when it sends.";
    return unread;
  }
  Verdict verdict = judge_sender(credential, result);
  if (verdict.kind == Kind::verified)
    verdict.note = "An API key may not read the account, so a suspended one shows when it sends.";
  return verdict;
}

Result<HttpRequest, PrepareError> Twilio::prepare_recipients(const CredentialFields& credential) const {
  return request_for(credential, "/OutgoingCallerIds.json?PageSize=1000");
}

Result<std::vector<std::string>, Problem> Twilio::interpret_recipients(const HttpResult& result) {
  const auto callers = read_list(result, "outgoing_caller_ids");
  if (!callers) return fail(callers.error());
  std::vector<std::string> numbers;
  for (const json& caller : *callers)
    if (auto number = caller.is_object() ? text_member(caller, "phone_number") : std::nullopt)
      numbers.push_back(std::move(*number));
  return numbers;
}

}  // namespace byocd
