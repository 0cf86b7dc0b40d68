#include "stripe_api.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "base64.h"
#include "json_fields.h"
#include "text.h"

namespace simulator {
namespace {

using nlohmann::json;

answer json_answer(int status, const json& document) {
  answer result;
  result.status = status;
  result.challenge = status == 401;
  result.body = document.dump(2, ' ', false, json::error_handler_t::replace) + "\n";
  return result;
}

answer stripe_error(int status, const std::string& message, const char* code = nullptr) {
  json error = {{"message", message}, {"type", "invalid_request_error"}};
  if (code != nullptr) error["code"] = code;
  return json_answer(status, {{"error", error}});
}

/// The key of `Bearer KEY`, or of Basic authentication with the key as the user.
std::string key_of(std::string_view authorization) {
  if (authorization.starts_with("Bearer ")) return std::string(authorization.substr(7));
  if (!authorization.starts_with("Basic ")) return "";
  const auto pair = base64_decode(authorization.substr(6)).value_or("");
  return pair.substr(0, pair.find(':'));
}

/// As Stripe shows a key in its errors.
std::string masked(const std::string& key) {
  const auto shown = key.rfind('_') + 1;
  if (key.size() < shown + 4) return std::string(key.size(), '*');
  return key.substr(0, shown) + std::string(key.size() - shown - 4, '*') + key.substr(key.size() - 4);
}

}  // namespace

answer stripe_api::handle(const request& asked) const {
  if (asked.path != "/v1/account" || asked.method != "GET")
    return stripe_error(404, fmt::format("Unrecognized request URL ({}: {}).", asked.method, asked.path));
  const auto given = key_of(asked.authorization);
  if (given.empty()) return stripe_error(401, "You did not provide an API key.");
  const auto found = keys_.find(given);
  if (found == keys_.end()) return stripe_error(401, "Invalid API Key provided: " + masked(given));
  const auto& key = found->second;
  if (key.expired) return stripe_error(401, "Expired API Key provided: " + masked(given), "api_key_expired");
  if (!key.reads_account)
    return stripe_error(
        403,
        fmt::format("The provided key '{}' does not have the required permissions for this endpoint on account '{}'. "
                    "Having the 'rak_accounts_kyc_basic_read' permission would allow this request to continue.",
                    masked(given), key.account));
  return json_answer(200, {{"id", key.account},
                           {"object", "account"},
                           {"charges_enabled", key.charges_enabled},
                           {"country", key.country},
                           {"details_submitted", key.charges_enabled},
                           {"payouts_enabled", key.charges_enabled},
                           {"type", "standard"}});
}

answer stripe_api::control(const request& asked, std::string_view topic) {
  if (topic != "keys") return json_answer(404, {{"error", fmt::format("there is no {}", asked.path)}});
  if (asked.method == "PUT" || asked.method == "POST") {
    const auto document = parse_json(asked.body);
    json_fields fields(document, "");
    const auto name = fields.required_string("key");
    key value{fields.string("account").value_or("acct_000000000000001"), fields.string("country").value_or("US"),
              fields.boolean("charges_enabled").value_or(true), fields.boolean("reads_account").value_or(true),
              fields.boolean("expired").value_or(false)};
    fields.finish();
    if (!value.reads_account && !name.starts_with("rk_"))
      fields.complain("reads_account", "be true but for a restricted key (rk_...)");
    keys_.insert_or_assign(name, std::move(value));
  } else if (asked.method == "DELETE") {
    keys_.clear();
  } else if (asked.method != "GET") {
    return json_answer(405, {{"error", fmt::format("{} does not take {}", asked.path, asked.method)}});
  }
  auto list = json::array();
  for (const auto& [name, each] : keys_)
    list.push_back({{"key", masked(name)}, {"account", each.account}, {"expired", each.expired}});
  return json_answer(200, list);
}

}  // namespace simulator
