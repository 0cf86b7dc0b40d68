// The four checks of a Twilio account. Blocking, one request after the other; what it talks to is passed in.
#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <string>

#include "../clock.h"
#include "../db/check_queue.h"
#include "../providers/twilio.h"
#include "report.h"

namespace byocd {

/// What the checks need from their surroundings.
struct CheckTerms {
  std::function<HttpResult(HttpRequest)> ask;
  std::function<void(std::chrono::milliseconds)> wait;
  std::function<Clock::time_point()> now;
  /// How long a message is followed.
  std::chrono::milliseconds patience{30'000};
  /// Distinguishes the texts of this run from all others, so that no message list confuses them.
  std::string mark;
};

class Checker {
 public:
  /// `queue` nullptr: the hot lead's SMS is sent directly too. All must outlive it.
  Checker(CheckTerms terms, const Twilio& twilio, const CredentialFields& credential, CheckQueue* queue);

  CheckResult account();
  /// `recipient` may be empty: then only the sender is looked at.
  CheckResult number(const std::string& recipient);
  /// Straight to the provider, without the queue: shows whether the account can send.
  CheckResult test_sms(const std::string& recipient);
  /// The way of every message: shows whether, and how fast, one arrives.
  CheckResult hot_lead_sms(const std::string& recipient);

 private:
  const Verdict& account_verdict();
  Verdict verify(int step);
  void check_recipient(const std::string& recipient, CheckResult& result);
  Result<std::string, Problem> send_directly(const std::string& recipient, const std::string& body);
  Result<std::string, Problem> send_through_queue(const std::string& recipient, const std::string& body,
                                                  Clock::time_point started);
  CheckResult sent(CheckResult result, const Result<std::string, Problem>& sid, Clock::time_point started);
  void follow(const std::string& sid, Clock::time_point started, CheckResult& result);
  bool is_over(Clock::time_point started) const { return terms_.now() - started >= terms_.patience; }
  double seconds_since(Clock::time_point started) const;

  CheckTerms terms_;
  const Twilio& twilio_;
  const CredentialFields& credential_;
  CheckQueue* queue_;
  std::optional<Verdict> account_;
};

}  // namespace byocd
