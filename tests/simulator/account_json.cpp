#include "account_json.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "json_fields.h"
#include "sid.h"

namespace simulator {
namespace {

std::string required_sid(json_fields& fields, const char* prefix) {
  auto sid = fields.required_string("sid");
  if (!is_sid(sid, prefix)) fields.complain("sid", fmt::format("be {} and 32 hexadecimal digits", prefix));
  return sid;
}

account account_from(json_fields fields) {
  account result;
  result.sid = required_sid(fields, "AC");
  result.auth_token = fields.required_string("auth_token");
  result.friendly_name = fields.string("friendly_name").value_or("Simulated account");
  result.status = fields.choice("status", {"active", "suspended", "closed"}).value_or("active");
  result.type = fields.choice("type", {"Full", "Trial"}).value_or("Full");
  result.trial_prefix = fields.boolean("trial_prefix").value_or(false);
  fields.objects("numbers", [&](json_fields number) {
    auto text = number.required_string("phone_number");
    result.numbers.push_back({std::move(text), number.boolean("sms").value_or(true)});
    number.finish();
  });
  fields.objects("api_keys", [&](json_fields key) {
    auto sid = required_sid(key, "SK");
    auto secret = key.required_string("secret");
    const bool is_main = key.choice("type", {"standard", "main"}).value_or("standard") == "main";
    key.finish();
    result.api_keys.push_back({std::move(sid), std::move(secret), is_main});
  });
  result.verified_callers = fields.strings("verified_callers");
  fields.objects("messaging_services", [&](json_fields service) {
    messaging_service value{required_sid(service, "MG"), std::nullopt};
    auto numbers = service.strings("numbers");
    if (service.has("numbers")) value.numbers = std::move(numbers);
    service.finish();
    result.messaging_services.push_back(std::move(value));
  });
  result.opted_out = fields.strings("opted_out");
  fields.finish();
  return result;
}

}  // namespace

std::vector<account> accounts_from_json(const nlohmann::json& document) {
  if (!document.is_array()) return {account_from(json_fields(document, ""))};
  std::vector<account> result;
  for (std::size_t i = 0; i < document.size(); ++i)
    result.push_back(account_from(json_fields(document[i], fmt::format("[{}]", i))));
  return result;
}

nlohmann::json public_json(const account& subject) {
  auto numbers = nlohmann::json::array();
  for (const auto& each : subject.numbers) numbers.push_back({{"phone_number", each.number}, {"sms", each.sms}});
  auto keys = nlohmann::json::array();
  for (const auto& each : subject.api_keys)
    keys.push_back({{"sid", each.sid}, {"type", each.is_main ? "main" : "standard"}});
  auto services = nlohmann::json::array();
  for (const auto& each : subject.messaging_services) {
    auto& service = services.emplace_back(nlohmann::json{{"sid", each.sid}});
    if (each.numbers) service["numbers"] = *each.numbers;
  }
  return {{"sid", subject.sid},
          {"friendly_name", subject.friendly_name},
          {"status", subject.status},
          {"type", subject.type},
          {"trial_prefix", subject.trial_prefix},
          {"numbers", numbers},
          {"api_keys", keys},
          {"verified_callers", subject.verified_callers},
          {"messaging_services", services},
          {"opted_out", subject.opted_out}};
}

}  // namespace simulator
