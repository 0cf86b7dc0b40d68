/// Faults that are injected on request: which request is hit, and by what.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "http.h"
#include "random.h"

namespace simulator {

enum class fault_action {
  status,         // answers an HTTP error, processes nothing
  timeout,        // never answers, processes nothing
  reset,          // RST, processes nothing
  status_after,   // processes, answers an HTTP error
  reset_after,    // processes, then RST
  timeout_after,  // processes, never answers
  slow_body,      // processes, answers in pieces
  hold,           // processes, answers when the rules are replaced
  malformed,      // processes, answers garbage
};

std::string_view to_string(fault_action action);
std::optional<fault_action> fault_action_from(std::string_view name);

/// What a `malformed` answer looks like.
enum class garbage {
  truncated_json,  // half of the JSON, with a Content-Length to match
  not_json,        // an HTML page under the JSON content type
  short_body,      // half of the body that Content-Length announces, then the connection closes
};

/// Whether the request is processed although the client gets no proper answer.
constexpr bool is_processed(fault_action action) {
  return action != fault_action::status && action != fault_action::timeout && action != fault_action::reset;
}

/// Whether the client gets an HTTP error of the rule's choice.
constexpr bool answers_error(fault_action action) {
  return action == fault_action::status || action == fault_action::status_after;
}

/// Which requests a rule applies to; empty text matches all.
struct fault_match {
  std::string account_sid;
  std::string to;      // of the form for POST, of the query for GET
  std::string method;  // upper case
  std::string path;    // prefix
};

struct fault_rule {
  fault_match match;
  fault_action action = fault_action::status;
  std::optional<std::uint64_t> count;  // hits left; absent is for ever
  double probability = 1;
  std::uint64_t seed = 1;
  int http_status = 503;
  std::optional<int> retry_after;   // seconds
  int code = 0;                     // Twilio's; 0 picks the one that goes with http_status
  std::optional<std::string> body;  // instead of Twilio's error document
  std::chrono::milliseconds spread{1000};
  garbage variant = garbage::truncated_json;
  std::uint64_t hits = 0;
};

class fault_rules {
 public:
  /// Replaces all rules; probabilities start over from their seeds.
  void set(std::vector<fault_rule> rules);
  bool empty() const { return rules_.empty(); }

  /// The first rule that matches and whose probability strikes, counted as a hit; nullptr when the request goes
  /// through.
  const fault_rule* strike(const request& subject);

  const std::vector<fault_rule>& all() const { return rules_; }

 private:
  std::vector<fault_rule> rules_;
  std::vector<random_sequence> draws_;  // one for each rule: adding a rule does not change what another one hits
};

/// The answer that a request under `rule` gets. `processed` is the proper answer of a rule that processes.
answer faulty_answer(const fault_rule& rule, answer processed);

}  // namespace simulator
