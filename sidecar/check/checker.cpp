#include "checker.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "../providers/twilio_problems.h"

namespace byocd {

namespace {

using namespace std::chrono_literals;
using State = CheckResult::State;

/// A hot lead's SMS should be there by then.
constexpr auto promise = 5s;
constexpr auto queue_interval = 50ms;
// While the promise can still be kept the answer has to be exact.
constexpr auto status_interval = 250ms;
constexpr auto slow_status_interval = 1000ms;
constexpr std::size_t most_shown = 10;

CheckResult make_result(const char* name, const char* title) {
  return {name, title};
}

void set_failed(CheckResult& result, Problem problem) {
  result.state = State::failed;
  result.problem = std::move(problem);
}

bool is_twilio_code(const std::string& code) {
  return code.size() == 5 && std::all_of(code.begin(), code.end(), [](char c) { return c >= '0' && c <= '9'; });
}

}  // namespace

Checker::Checker(CheckTerms terms, const Twilio& twilio, const CredentialFields& credential, CheckQueue* queue)
    : terms_(std::move(terms)), twilio_(twilio), credential_(credential), queue_(queue) {}

Verdict Checker::verify(int step) {
  auto request = twilio_.prepare_verification(credential_, step);
  if (!request) return {Verdict::Kind::failed, request.error()};
  return twilio_.interpret_verification(credential_, step, terms_.ask(std::move(*request)));
}

const Verdict& Checker::account_verdict() {
  if (!account_) account_ = verify(0);
  return *account_;
}

CheckResult Checker::account() {
  CheckResult result = make_result("account", "Account Verification");
  const Verdict& verdict = account_verdict();
  if (const SecretString* sid = find_field(credential_, "account_sid")) result.details = {{"sid", sid->reveal()}};
  result.details.insert(result.details.end(), verdict.details.begin(), verdict.details.end());
  if (verdict.kind != Verdict::Kind::next) set_failed(result, verdict.problem);
  return result;
}

CheckResult Checker::number(const std::string& recipient) {
  CheckResult result = make_result("number", "Phone Number Validation");
  if (account_verdict().kind != Verdict::Kind::next) {
    set_failed(result, account_verdict().problem);
    return result;
  }
  const Verdict verdict = verify(1);
  result.details = verdict.details;
  if (result.details.empty())
    if (const SecretString* number = find_field(credential_, "phone_number"))
      result.details = {{"sender", number->reveal()}};
  if (verdict.kind != Verdict::Kind::verified)
    set_failed(result, verdict.problem);
  else
    check_recipient(recipient, result);
  return result;
}

void Checker::check_recipient(const std::string& recipient, CheckResult& result) {
  if (!recipient.empty()) {
    result.details.emplace_back("recipient", recipient);
    if (auto problem = number_problem(recipient, "The recipient's number"))
      return set_failed(result, std::move(*problem));
  }
  if (!account_verdict().on_trial) return;
  auto request = twilio_.prepare_recipients(credential_);
  if (!request) return;
  const auto verified = Twilio::interpret_recipients(terms_.ask(std::move(*request)));
  if (!verified) return set_failed(result, verified.error());
  const auto shown = std::min(verified->size(), most_shown);
  std::string list = fmt::format("{}", fmt::join(verified->begin(), verified->begin() + static_cast<int>(shown), ", "));
  if (shown < verified->size()) list += fmt::format(" and {} more", verified->size() - shown);
  result.details.emplace_back("verified", list.empty() ? "no recipient, and a trial account sends to no other" : list);
  if (!recipient.empty() && std::find(verified->begin(), verified->end(), recipient) == verified->end())
    set_failed(result, twilio_problem("21608", ""));
}

CheckResult Checker::test_sms(const std::string& recipient) {
  CheckResult result = make_result("test_sms", "Send Test SMS");
  result.details.emplace_back("to", recipient);
  const auto started = terms_.now();
  const auto sid =
      send_directly(recipient, fmt::format("Test {} by byocd check: this Twilio account can send.", terms_.mark));
  return sent(std::move(result), sid, started);
}

CheckResult Checker::hot_lead_sms(const std::string& recipient) {
  CheckResult result = make_result("hot_lead_sms", "Send Hot Lead SMS");
  result.details.emplace_back("to", recipient);
  result.details.emplace_back("way", queue_ ? "database, byocd run, Twilio" : "Twilio directly");
  const std::string body = fmt::format("🔥 HOT LEAD\nName: Test {}\nSummary: sent by byocd check", terms_.mark);
  const auto started = terms_.now();
  result = sent(std::move(result),
                queue_ ? send_through_queue(recipient, body, started) : send_directly(recipient, body), started);
  if (result.state == State::passed && result.warning.empty() && terms_.now() - started > promise)
    result.warning = fmt::format("It took longer than the {} seconds in which a hot lead should be there.",
                                 std::chrono::seconds(promise).count());
  return result;
}

Result<std::string, Problem> Checker::send_directly(const std::string& recipient, const std::string& body) {
  if (auto problem = number_problem(recipient, "The recipient's number")) return fail(std::move(*problem));
  ClaimedJob job;
  job.to_number = recipient;
  job.body = body;
  auto request = twilio_.prepare(job, credential_);
  if (!request)
    return fail(Problem{request.error().code, request.error().message + ".", "Enter the credential again."});
  const HttpResult answer = terms_.ask(std::move(*request));
  if (!answer) {
    Problem problem = failure_problem(answer.error(), "Twilio");
    if (answer.error().possibly_written) problem.cause += " The message may have been sent.";
    return fail(std::move(problem));
  }
  if (answer->status >= 300) return fail(twilio_answer_problem(*answer));
  const Outcome outcome = twilio_.interpret(answer);
  if (!outcome.provider_sid) return fail(foreign_answer_problem(answer->status));
  return *outcome.provider_sid;
}

Result<std::string, Problem> Checker::send_through_queue(const std::string& recipient, const std::string& body,
                                                         Clock::time_point started) {
  if (auto problem = queue_->obstacle()) return fail(std::move(*problem));
  const auto id = queue_->send(recipient, body);
  if (!id) return id;
  for (;;) {
    const auto message = queue_->look(*id);
    if (!message) return fail(message.error());
    if (is_twilio_code(message->error_code) && message->status == "failed")
      return fail(twilio_problem(message->error_code, message->error_message));
    if (!message->provider_sid.empty()) return message->provider_sid;
    const bool waits = message->status == "queued" || message->status == "sending" || message->status == "scheduled";
    const std::string history = fmt::format("SELECT * FROM byoc.sms_events WHERE message_id = '{}' tells more.", *id);
    if (!waits)
      return fail(Problem{message->error_code.empty() ? message->status : message->error_code,
                          fmt::format("byocd could not send the message: it is {}{}.", message->status,
                                      message->error_message.empty() ? "" : ", " + message->error_message),
                          history});
    if (is_over(started)) {
      Problem problem = queue_->delay();
      problem.cause = fmt::format("After {:.0f} seconds the message was still {}. {}", seconds_since(started),
                                  message->status, problem.cause);
      problem.fix += " " + history;
      return fail(std::move(problem));
    }
    terms_.wait(queue_interval);
  }
}

CheckResult Checker::sent(CheckResult result, const Result<std::string, Problem>& sid, Clock::time_point started) {
  if (!sid) {
    set_failed(result, sid.error());
    return result;
  }
  result.details.emplace_back("message", *sid);
  follow(*sid, started, result);
  return result;
}

void Checker::follow(const std::string& sid, Clock::time_point started, CheckResult& result) {
  for (;;) {
    auto request = twilio_.prepare_status(credential_, sid);
    const HttpResult answer = terms_.ask(std::move(*request));
    const auto facts = twilio_.interpret_status(answer);
    const std::string status = facts ? facts->status : "";
    const double seconds = seconds_since(started);
    result.seconds = seconds;
    const bool delivered = status == "delivered" || status == "read";
    const bool failed = status == "undelivered" || status == "failed" || status == "canceled";
    if (delivered || failed) {
      result.details.emplace_back("status", fmt::format("{} after {:.1f} s", status, seconds));
      if (failed)
        set_failed(result, facts->error_code
                               ? twilio_problem(*facts->error_code, "")
                               : Problem{status, fmt::format("The message is {}, without a reason.", status),
                                         "Look at it in the Twilio console under Monitor > Logs > Messaging."});
      return;
    }
    if (is_over(started)) {
      const std::string known = status.empty() ? "not known" : status;
      result.details.emplace_back("status", fmt::format("{} after {:.1f} s", known, seconds));
      if (status == "sent")
        result.warning = "The carrier took it, and has not said yet that it arrived: not every carrier does.";
      else if (status.empty())
        result.warning = "Twilio took it, but its status could not be read.";
      else
        set_failed(result,
                   {"not_delivered", fmt::format("Twilio took the message, but has not sent it on ({}).", status),
                    "Look at it in the Twilio console under Monitor > Logs > Messaging: a full queue of the "
                    "sender, or a registration that is missing (A2P 10DLC, toll-free)."});
      return;
    }
    terms_.wait(terms_.now() - started < promise ? status_interval : slow_status_interval);
  }
}

double Checker::seconds_since(Clock::time_point started) const {
  return std::chrono::duration<double>(terms_.now() - started).count();
}

}  // namespace byocd
