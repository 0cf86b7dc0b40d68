#include "knobs_json.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "json_fields.h"

namespace simulator {
namespace {

constexpr std::array<std::string_view, 3> garbage_names = {"truncated_json", "not_json", "short_body"};

fault_rule rule_from(json_fields fields) {
  fault_rule rule;
  const auto action = fault_action_from(fields.required_string("action"));
  if (!action)
    fields.complain(
        "action",
        "be one of status, timeout, reset, status_after, reset_after, timeout_after, slow_body, hold, malformed");
  rule.action = *action;
  fields.object("match", [&](json_fields match) {
    rule.match.account_sid = match.string("account_sid").value_or("");
    rule.match.to = match.string("to").value_or("");
    rule.match.method = match.choice("method", {"GET", "POST", "PUT", "PATCH", "DELETE"}).value_or("");
    rule.match.path = match.string("path").value_or("");
    match.finish();
  });
  rule.count = fields.whole64("count");
  rule.probability = fields.probability("probability").value_or(1);
  rule.seed = fields.whole64("seed").value_or(1);
  if (answers_error(rule.action)) {
    const auto status = fields.whole("status");
    if (!status || *status < 400 || *status > 599) fields.complain("status", "be an HTTP status from 400 to 599");
    rule.http_status = static_cast<int>(*status);
    if (const auto seconds = fields.whole("retry_after")) rule.retry_after = static_cast<int>(*seconds);
    rule.code = static_cast<int>(fields.whole("code", 99999).value_or(0));
    rule.body = fields.string("body");
  }
  if (rule.action == fault_action::slow_body)
    rule.spread = std::chrono::milliseconds(fields.whole("ms", 3'600'000).value_or(1000));
  if (rule.action == fault_action::malformed) {
    const auto name = fields.choice("variant", {garbage_names.begin(), garbage_names.end()}).value_or("truncated_json");
    rule.variant =
        static_cast<garbage>(std::find(garbage_names.begin(), garbage_names.end(), name) - garbage_names.begin());
  }
  fields.finish();
  return rule;
}

message_status final_status_in(json_fields& fields, const char* name) {
  const auto status = fields.choice(name, {"delivered", "undelivered", "failed"}).value_or("delivered");
  if (status == "undelivered") return message_status::undelivered;
  return status == "failed" ? message_status::failed : message_status::delivered;
}

delivery_settings::ending ending_in(json_fields& fields) {
  const auto status = final_status_in(fields, "final_status");
  const auto code = fields.whole("error_code", 65535);
  if (code && *code != 0 && status == message_status::delivered)
    fields.complain("error_code", "be left out when messages are delivered");
  return {status, code ? static_cast<int>(*code) : default_error_code(status)};
}

/// A delay: a number of milliseconds, null for never, the default when absent.
std::optional<std::uint32_t> delay_in(json_fields& fields, const char* name, std::optional<std::uint32_t> otherwise) {
  if (fields.is_null(name)) return std::nullopt;
  const auto value = fields.whole(name, 86'400'000);
  return value ? value : otherwise;
}

nlohmann::json number_or_null(std::optional<std::uint32_t> value) {
  return value ? nlohmann::json(*value) : nlohmann::json();
}

}  // namespace

std::vector<fault_rule> faults_from_json(const nlohmann::json& document) {
  if (!document.is_array()) throw input_error("the body must be an array of rules");
  std::vector<fault_rule> rules;
  for (std::size_t i = 0; i < document.size(); ++i)
    rules.push_back(rule_from(json_fields(document[i], fmt::format("[{}]", i))));
  return rules;
}

nlohmann::json to_json(const fault_rule& rule) {
  auto match = nlohmann::json::object();
  const auto add = [&](const char* name, const std::string& value) {
    if (!value.empty()) match[name] = value;
  };
  add("account_sid", rule.match.account_sid);
  add("to", rule.match.to);
  add("method", rule.match.method);
  add("path", rule.match.path);
  nlohmann::json result = {{"action", to_string(rule.action)},
                           {"match", match},
                           {"probability", rule.probability},
                           {"seed", rule.seed},
                           {"hits", rule.hits}};
  if (rule.count) result["count"] = *rule.count;
  if (answers_error(rule.action)) {
    result["status"] = rule.http_status;
    if (rule.retry_after) result["retry_after"] = *rule.retry_after;
    if (rule.code != 0) result["code"] = rule.code;
    if (rule.body) result["body"] = *rule.body;
  }
  if (rule.action == fault_action::slow_body) result["ms"] = rule.spread.count();
  if (rule.action == fault_action::malformed) result["variant"] = garbage_names[static_cast<std::size_t>(rule.variant)];
  return result;
}

delivery_settings delivery_from_json(const nlohmann::json& document) {
  json_fields fields(document, "");
  delivery_settings result;
  result.queued_ms = delay_in(fields, "queued_ms", result.queued_ms);
  result.sending_ms = delay_in(fields, "sending_ms", result.sending_ms);
  result.sent_ms = delay_in(fields, "sent_ms", result.sent_ms);
  result.final_ms = delay_in(fields, "final_ms", result.final_ms);
  result.final = ending_in(fields);
  fields.dictionary("recipients", [&](const std::string& to, json_fields ending) {
    result.recipients[to] = ending_in(ending);
    ending.finish();
  });
  result.drop_probability = fields.probability("drop_probability").value_or(0);
  for (const auto& name : fields.strings("drop_statuses")) {
    const auto status = callback_status_from(name);
    if (!status) fields.complain("drop_statuses", "hold only queued, sending, sent, delivered, undelivered and failed");
    result.drop_statuses.push_back(*status);
  }
  result.repeat = fields.whole("repeat", 100).value_or(0);
  result.out_of_order = fields.boolean("out_of_order").value_or(false);
  result.seed = fields.whole64("seed").value_or(1);
  fields.finish();
  return result;
}

nlohmann::json to_json(const delivery_settings& settings) {
  auto recipients = nlohmann::json::object();
  for (const auto& [to, ending] : settings.recipients) {
    recipients[to] = {{"final_status", to_string(ending.status)}, {"error_code", ending.error_code}};
  }
  auto dropped = nlohmann::json::array();
  for (const auto status : settings.drop_statuses) dropped.push_back(to_string(status));
  return {{"queued_ms", number_or_null(settings.queued_ms)},
          {"sending_ms", number_or_null(settings.sending_ms)},
          {"sent_ms", number_or_null(settings.sent_ms)},
          {"final_ms", number_or_null(settings.final_ms)},
          {"final_status", to_string(settings.final.status)},
          {"error_code", settings.final.error_code},
          {"recipients", recipients},
          {"drop_probability", settings.drop_probability},
          {"drop_statuses", dropped},
          {"repeat", settings.repeat},
          {"out_of_order", settings.out_of_order},
          {"seed", settings.seed}};
}

list_settings lists_from_json(const nlohmann::json& document) {
  json_fields fields(document, "");
  list_settings result;
  result.delay = std::chrono::milliseconds(fields.whole("delay_ms", 3'600'000).value_or(0));
  result.redact_bodies = fields.boolean("redact_bodies").value_or(false);
  result.date_filters_skip_unsent = fields.boolean("date_filters_skip_unsent").value_or(false);
  fields.finish();
  return result;
}

nlohmann::json to_json(const list_settings& settings) {
  return {{"delay_ms", settings.delay.count()},
          {"redact_bodies", settings.redact_bodies},
          {"date_filters_skip_unsent", settings.date_filters_skip_unsent}};
}

latency_settings latency_from_json(const nlohmann::json& document) {
  json_fields fields(document, "");
  latency_settings result;
  result.ms = fields.whole("ms", 3'600'000).value_or(0);
  result.jitter_ms = fields.whole("jitter_ms", 3'600'000).value_or(0);
  result.draws = random_sequence(fields.whole64("seed").value_or(1));
  fields.finish();
  return result;
}

nlohmann::json to_json(const latency_settings& settings) {
  return {{"ms", settings.ms}, {"jitter_ms", settings.jitter_ms}};
}

}  // namespace simulator
