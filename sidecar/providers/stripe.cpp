#include "stripe.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "../json.h"
#include "json_members.h"

namespace byocd {

namespace {

using nlohmann::json;
using Kind = Verdict::Kind;

// Stripe's sentences quote the key's end, so they are not repeated.
Problem refusal(int status, const json& error) {
  const std::string code = text_member(error, "code").value_or(fmt::format("http_{}", status));
  if (code == "api_key_expired")
    return {code, "This Stripe key has expired: it was rolled or deleted.",
            "Copy the new key from the Stripe dashboard under Developers > API keys."};
  if (status == 401)
    return {code, "Stripe does not accept this key: it is wrong or was deleted.",
            "Copy it again from the Stripe dashboard under Developers > API keys."};
  return {code, fmt::format("Stripe refused the key (HTTP {}, {}).", status, code),
          "Look at the account and its keys in the Stripe dashboard."};
}

Problem foreign_answer(int status) {
  return {"bad_answer", fmt::format("What answered (HTTP {}) does not speak Stripe's API.", status),
          "Check the provider's base URL if one is set, and whether a proxy answers in Stripe's place.", true};
}

Verdict judge_stripe_account(const json& account) {
  Verdict verdict{Kind::verified, {}};
  for (const auto& [title, name] : {std::pair("account", "id"), std::pair("country", "country")})
    if (const auto value = text_member(account, name)) verdict.details.emplace_back(title, *value);
  if (const auto charges = account.find("charges_enabled"); charges != account.end() && *charges == false)
    verdict.note = "Stripe does not let this account charge: its set-up in the Stripe dashboard is not complete.";
  return verdict;
}

}  // namespace

Result<HttpRequest, Problem> Stripe::prepare_verification(const CredentialFields& credential, int) const {
  const SecretString* key = find_field(credential, "secret_key");
  if (!key) return fail(Problem{"credential_incomplete", "The credential has no secret_key.", "Enter it again."});
  HttpRequest request;
  request.url = base_url_ + "/v1/account";
  request.headers.emplace_back("Authorization: Bearer " + key->reveal());
  return request;
}

Verdict Stripe::interpret_verification(const CredentialFields& credential, int, const HttpResult& result) const {
  if (!result) return {Kind::retry, failure_problem(result.error(), "Stripe")};
  const int status = result->status;
  if (status >= 500 || status == 429)
    return {
        Kind::retry,
        {fmt::format("http_{}", status), fmt::format("Stripe answered HTTP {}: it does not take requests now.", status),
         "Try again in a minute; https://status.stripe.com tells about outages.", true}};
  const json document = parse_json(result->body);
  if (!document.is_object()) return {Kind::retry, foreign_answer(status)};
  if (status == 200)
    return text_member(document, "object") == "account" ? judge_stripe_account(document)
                                                        : Verdict{Kind::retry, foreign_answer(status)};
  const auto error = document.find("error");
  if (status < 400 || error == document.end() || !error->is_object()) return {Kind::retry, foreign_answer(status)};
  const bool restricted = find_field(credential, "secret_key")->reveal().starts_with("rk_");
  if (status == 403 && restricted) {
    Verdict verdict{Kind::verified, {}};
    verdict.note = "This restricted key may not read the account, so what else it may do shows when it is used.";
    return verdict;
  }
  return {Kind::failed, refusal(status, *error)};
}

}  // namespace byocd
