#include "twilio.h"

#include <fmt/format.h>

#include <algorithm>

#include "form.h"
#include "json_object.h"
#include "twilio_hosts.h"

namespace byocd {

namespace {

// ValidityPeriod's range in seconds.
constexpr int shortest_validity = 1;
constexpr int longest_validity = 36'000;

Outcome accepted(const JsonObject& message, int status) {
  Outcome outcome;
  outcome.kind = OutcomeKind::accepted;
  outcome.http_status = status;
  outcome.provider_sid = message.text("sid");
  outcome.provider_status = message.text("status");
  outcome.from_number = message.text("from");
  outcome.segments = message.number("num_segments");
  return outcome;
}

Outcome bad_answer(int status, std::string message) {
  Outcome outcome;
  outcome.kind = OutcomeKind::unknown;
  outcome.http_status = status;
  outcome.error_code = "bad_answer";
  outcome.error_message = std::move(message);
  return outcome;
}

// 4xx: the request was refused. Twilio's error document is {"code", "message", "more_info", "status"}.
Outcome refused(const JsonObject& document, const HttpResponse& response) {
  Outcome outcome;
  outcome.http_status = response.status;
  outcome.kind = OutcomeKind::rejected;
  if (const auto code = document.number("code"))
    outcome.error_code = std::to_string(*code);
  else if (response.status == 401)
    outcome.error_code = "20003";
  else
    outcome.error_code = fmt::format("http_{}", response.status);
  outcome.error_message =
      document.text("message").value_or(fmt::format("HTTP {} without an error document", response.status));
  return outcome;
}

}  // namespace

Result<HttpRequest, PrepareError> Twilio::request_for(const CredentialFields& credential,
                                                      const std::string& rest) const {
  const SecretString* account = find_field(credential, "account_sid");
  if (!account) return fail(PrepareError{"credential_incomplete", "the credential has no account_sid"});
  return request_to(credential, "/2010-04-01/Accounts/" + percent_encoded(account->reveal()) + rest);
}

Result<HttpRequest, PrepareError> Twilio::request_to(const CredentialFields& credential, const std::string& path,
                                                     std::string_view product) const {
  auto url = twilio_url(base_url_, product, credential);
  if (!url) return fail(std::move(url.error()));
  const SecretString* user = find_field(credential, "account_sid");
  const SecretString* password = find_field(credential, "auth_token");
  if (const SecretString* key = find_field(credential, "api_key_sid")) {
    user = key;
    password = find_field(credential, "api_key_secret");
  }
  if (!user || !password)
    return fail(PrepareError{"credential_incomplete", "the credential has neither auth_token nor api_key_secret"});

  HttpRequest request;
  request.url = *url + path;
  request.user = user->reveal();
  request.password = password->copy();
  return request;
}

Result<HttpRequest, PrepareError> Twilio::prepare(const ClaimedJob& job, const CredentialFields& credential) const {
  auto request = request_for(credential, "/Messages.json");
  if (!request) return request;
  request->method = HttpRequest::Method::post;
  std::string& form = request->body;
  append_field(form, "To", job.to_number);
  if (const SecretString* service = find_field(credential, "messaging_service_sid"))
    append_field(form, "MessagingServiceSid", service->reveal());
  else if (const SecretString* number = find_field(credential, "phone_number"))
    append_field(form, "From", number->reveal());
  else
    return fail(
        PrepareError{"credential_incomplete", "the credential has neither phone_number nor messaging_service_sid"});
  append_field(form, "Body", job.body);
  if (job.receipt_address) append_field(form, "StatusCallback", *job.receipt_address);
  if (job.validity_seconds)
    append_field(form, "ValidityPeriod",
                 std::to_string(std::clamp(*job.validity_seconds, shortest_validity, longest_validity)));
  return request;
}

Outcome Twilio::interpret(const HttpResult& result) const {
  if (!result) return outcome_of_failure(result.error());
  const HttpResponse& response = *result;
  static const JsonObject nothing;
  const auto parsed = JsonObject::parse(response.body);
  const JsonObject& document = parsed ? *parsed : nothing;

  if (response.status >= 200 && response.status < 300) {
    Outcome outcome = accepted(document, response.status);
    if (outcome.provider_sid) return outcome;
    return bad_answer(response.status, "Twilio's answer has no message SID");
  }
  if (response.status >= 500) {
    Outcome outcome = refused(document, response);
    outcome.kind = OutcomeKind::unavailable;
    outcome.retry_after = response.retry_after;
    return outcome;
  }
  if (response.status >= 400) {
    Outcome outcome = refused(document, response);
    outcome.retry_after = response.retry_after;
    if (response.status == 401 && !parsed && !response.body.empty()) {
      // A proxy that wants to know who we are says nothing about the credential.
      outcome.kind = OutcomeKind::unavailable;
      outcome.error_code = "http_401";
    }
    outcome.refuses_account =
        (response.status == 401 || response.status == 403) && outcome.kind == OutcomeKind::rejected;
    if (response.status == 429) {
      outcome.kind = OutcomeKind::throttled;
      if (!document.number("code")) outcome.error_code = "20429";
    }
    return outcome;
  }
  // A redirect or worse: something between us and Twilio answered.
  return bad_answer(response.status, fmt::format("unexpected HTTP status {}", response.status));
}

}  // namespace byocd
