// What `byocd check` found, for people and for programs.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "../providers/problem.h"

namespace byocd {

/// One of the four checks, done or not.
struct CheckResult {
  enum class State { passed, failed, skipped };
  /// `account`, `number`, `test_sms` or `hot_lead_sms`: stable.
  std::string name;
  /// `Account Verification`, ...
  std::string title;
  State state = State::passed;
  /// What was seen, in the order to show it.
  std::vector<std::pair<std::string, std::string>> details{};
  /// Of a message that was followed: how long, until its status was final or nobody waited any more.
  std::optional<double> seconds{};
  /// Passed, but somebody should know this.
  std::string warning{};
  /// Of a failed check.
  Problem problem{};
  /// Why it was skipped.
  std::string reason{};
};

/// Whom the checks were about.
struct CheckSubject {
  /// `database` or `environment`.
  std::string source;
  std::string org_id;
  std::string organization;
  /// The recipient of the test messages; empty when none is sent.
  std::string recipient;
};

/// The line above the checks.
std::string heading(const CheckSubject& subject);

/// One check's lines. `colors`: with terminal escapes.
std::string to_text(const CheckResult& result, bool colors);

/// `Total: 4 passed, 0 failed`, and how many were skipped if any.
std::string total_line(const std::vector<CheckResult>& results);

/// One JSON document with everything.
std::string to_json(const CheckSubject& subject, const std::vector<CheckResult>& results);

/// 0: nothing failed. 1: a check failed. 3: database or provider could not be reached.
int exit_code(const std::vector<CheckResult>& results);

/// Text of others as a terminal may show it: no control characters, nothing that turns the direction of writing.
std::string printable(std::string_view text);

}  // namespace byocd
