#include "webhook.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include "webhook_signature.h"

namespace byocd {

namespace {

using Ending = CallOutcome::Kind;

Result<HttpRequest, PrepareError> signed_request(const CredentialFields& credential, const std::string& id,
                                                 std::string body, std::chrono::sys_seconds now) {
  const SecretString* url = find_field(credential, "url");
  if (!url) return fail(PrepareError{"credential_incomplete", "the credential has no url"});
  std::vector<SecretString> keys;
  for (const char* name : {"secret", "previous_secret"}) {
    const SecretString* secret = find_field(credential, name);
    if (!secret) continue;
    auto key = webhook_key(secret->reveal());
    if (!key) return fail(PrepareError{"credential_incomplete", fmt::format("the credential's {} is malformed", name)});
    keys.push_back(std::move(*key));
  }
  if (keys.empty()) return fail(PrepareError{"credential_incomplete", "the credential has no secret"});
  HttpRequest request;
  request.method = HttpRequest::Method::post;
  request.url = url->reveal();
  request.untrusted_url = true;
  request.headers = webhook_headers({id, now, body}, keys);
  request.headers.emplace_back("Content-Type: application/json");
  request.body = std::move(body);
  return request;
}

// What an answer says of the receiver, in a sentence. Its body is nobody's business here.
std::string told(int status) {
  if (status >= 300 && status < 400)
    return fmt::format("The receiver answered HTTP {}: redirects are not followed.", status);
  if (status == 410) return "The receiver answered HTTP 410: it wants no more webhooks.";
  return fmt::format("The receiver answered HTTP {}.", status);
}

bool is_for_later(int status) {
  return status >= 500 || status == 429 || status == 408 || status == 425;
}

}  // namespace

Result<HttpRequest, PrepareError> Webhook::prepare_call(const ClaimedCall& call, const CredentialFields& credential,
                                                        int) const {
  return signed_request(credential, call.id, call.payload, now_());
}

CallOutcome Webhook::interpret_call(const ClaimedCall&, int, const HttpResult& result) const {
  if (!result) {
    CallOutcome outcome = call_outcome_of_failure(result.error());
    if (result.error().reason == HttpFailure::Reason::not_permitted) {
      const Problem problem = failure_problem(result.error(), "The receiver");
      outcome.kind = Ending::rejected;
      outcome.error_code = problem.code;
      outcome.error_message = problem.text();
    }
    return outcome;
  }
  CallOutcome outcome;
  const int status = result->status;
  outcome.http_status = status;
  if (status >= 200 && status < 300) {
    outcome.kind = Ending::accepted;
    return outcome;
  }
  outcome.kind = status == 429 ? Ending::throttled : is_for_later(status) ? Ending::unavailable : Ending::rejected;
  // One code for all other refusals, so that byoc.provider_errors can say what becomes of them.
  outcome.error_code = outcome.kind != Ending::rejected || status == 410 ? fmt::format("http_{}", status) : "refused";
  outcome.error_message = told(status);
  outcome.retry_after = result->retry_after;
  return outcome;
}

Result<HttpRequest, Problem> Webhook::prepare_verification(const CredentialFields& credential, int) const {
  const auto now = now_();
  const auto seconds = now.time_since_epoch().count();
  auto request = signed_request(credential, fmt::format("verification_{}", seconds),
                                fmt::format(R"({{"type":"byoc.verification","timestamp":"{:%FT%TZ}","data":{{}}}})",
                                            fmt::gmtime(static_cast<std::time_t>(seconds))),
                                now);
  if (request) return std::move(*request);
  return fail(Problem{request.error().code, "The credential cannot be used: " + request.error().message + ".",
                      "Enter it again."});
}

Verdict Webhook::interpret_verification(const CredentialFields&, int, const HttpResult& result) const {
  if (!result) return verdict_of(failure_problem(result.error(), "The receiver"));
  const int status = result->status;
  if (status >= 200 && status < 300) return {Verdict::Kind::verified, {}, {{"answer", fmt::format("HTTP {}", status)}}};
  return {is_for_later(status) ? Verdict::Kind::retry : Verdict::Kind::failed,
          {fmt::format("http_{}", status), told(status),
           "It must answer a signed event of type byoc.verification with a 2xx status: check its URL and its secret.",
           is_for_later(status)}};
}

}  // namespace byocd
