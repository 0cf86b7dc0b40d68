#include "faults.h"

#include <array>

#include "form.h"
#include "twilio_errors.h"
#include "twilio_paths.h"

namespace simulator {
namespace {

constexpr std::array<std::string_view, 9> action_names = {
    "status", "timeout", "reset", "status_after", "reset_after", "timeout_after", "slow_body", "hold", "malformed"};

bool matches(const fault_match& match, const request& subject) {
  if (!match.method.empty() && match.method != subject.method) return false;
  if (!subject.path.starts_with(match.path)) return false;
  if (!match.account_sid.empty() && account_in_path(subject.path) != match.account_sid) return false;
  if (match.to.empty()) return true;
  return form::parse(subject.method == "POST" ? subject.body : subject.query).get("To") == match.to;
}

twilio_error error_for(const fault_rule& rule) {
  if (rule.http_status == 429) return {429, 20429, "Too Many Requests"};
  if (rule.http_status == 401) return authentication_error();
  if (rule.http_status == 503) return {503, 20503, "Service is unavailable"};
  return {rule.http_status, 20500, "An internal server error has occurred"};
}

}  // namespace

std::string_view to_string(fault_action action) {
  return action_names[static_cast<std::size_t>(action)];
}

std::optional<fault_action> fault_action_from(std::string_view name) {
  for (std::size_t i = 0; i < action_names.size(); ++i) {
    if (action_names[i] == name) return static_cast<fault_action>(i);
  }
  return std::nullopt;
}

void fault_rules::set(std::vector<fault_rule> rules) {
  rules_ = std::move(rules);
  draws_.clear();
  for (const auto& rule : rules_) draws_.emplace_back(rule.seed);
}

const fault_rule* fault_rules::strike(const request& subject) {
  for (std::size_t i = 0; i < rules_.size(); ++i) {
    auto& rule = rules_[i];
    if (rule.count == 0U || !matches(rule.match, subject)) continue;
    if (draws_[i].fraction() >= rule.probability) continue;
    if (rule.count) --*rule.count;
    ++rule.hits;
    return &rule;
  }
  return nullptr;
}

answer faulty_answer(const fault_rule& rule, answer processed) {
  switch (rule.action) {
    case fault_action::status:
    case fault_action::status_after: {
      auto error = error_for(rule);
      if (rule.code != 0) error.code = rule.code;
      auto result = to_answer(error);
      if (rule.body) result.body = *rule.body;
      result.retry_after = rule.retry_after;
      return result;
    }
    case fault_action::timeout:
    case fault_action::timeout_after:
      processed.how = manner::never;
      break;
    case fault_action::reset:
    case fault_action::reset_after:
      processed.how = manner::reset;
      break;
    case fault_action::slow_body:
      processed.how = manner::dribbled;
      processed.spread = rule.spread;
      break;
    case fault_action::hold:
      processed.how = manner::held;
      break;
    case fault_action::malformed:
      if (rule.variant == garbage::short_body)
        processed.how = manner::cut;
      else if (rule.variant == garbage::not_json)
        processed.body = "<html><body><h1>502 Bad Gateway</h1></body></html>\n";
      else
        processed.body.resize(processed.body.size() / 2);
      break;
  }
  return processed;
}

}  // namespace simulator
