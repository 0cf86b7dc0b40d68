#include "command.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <memory>

#include "../db/check_gateway.h"
#include "../providers/twilio_environment.h"
#include "../uuid.h"
#include "terms.h"

namespace byocd {

namespace {

using State = CheckResult::State;

constexpr int usage_error = 2;

struct Step {
  const char* name;
  const char* title;
  bool sends;
  CheckResult (*run)(Checker& checker, const std::string& recipient);
};

constexpr Step steps[] = {
    {"account", "Account Verification", false, [](Checker& checker, const std::string&) { return checker.account(); }},
    {"number", "Phone Number Validation", false,
     [](Checker& checker, const std::string& recipient) { return checker.number(recipient); }},
    {"test_sms", "Send Test SMS", true,
     [](Checker& checker, const std::string& recipient) { return checker.test_sms(recipient); }},
    {"hot_lead_sms", "Send Hot Lead SMS", true,
     [](Checker& checker, const std::string& recipient) { return checker.hot_lead_sms(recipient); }},
};

int complain(const std::string& message) {
  fmt::print(stderr, "byocd check: {}\n", message);
  return usage_error;
}

// Whose account, and the way to its queue.
struct Found {
  CredentialFields credential;
  std::unique_ptr<CheckGateway> queue;
};

class Run {
 public:
  Run(const CheckOptions& options, const Config& config, const Environment& environment)
      : options_(options), config_(config), environment_(environment) {
    for (const Step& step : steps)
      if (options.only.empty() || std::find(options.only.begin(), options.only.end(), step.name) != options.only.end())
        selected_.push_back(&step);
    sends_ = std::any_of(selected_.begin(), selected_.end(), [](const Step* step) { return step->sends; });
  }

  int run() {
    subject_.recipient = options_.recipient;
    subject_.source = options_.environment ? "environment" : "database";
    auto found = options_.environment ? from_environment() : from_database();
    if (!found && found.error().code == "environment_missing") return complain(found.error().text());
    if (found && sends_ && subject_.recipient.empty())
      return complain(options_.environment
                          ? "--to +E164 is needed for the test messages; --only account,number sends none"
                          : "--to +E164 is needed for the test messages, since the organization has no setting "
                            "alert_phone; --only account,number sends none");
    print(heading(subject_));
    if (found)
      check(*found);
    else
      add(failed_before(found.error()));
    return finish();
  }

 private:
  Result<Found, Problem> from_environment() {
    auto fields = twilio_environment(environment_);
    if (!fields) return fail(std::move(fields.error()));
    return Found{std::move(*fields), nullptr};
  }

  Result<Found, Problem> from_database() {
    subject_.org_id = options_.org_id;
    auto session = Session::open(config_.database_url, "byocd check");
    if (!session) return fail(database_problem(session.error(), "byoc.grant_dispatcher"));
    auto gateway = std::make_unique<CheckGateway>(std::move(*session), options_.org_id);
    const auto target = gateway->target();
    if (!target) return fail(target.error());
    subject_.organization = target->organization;
    if (sends_ && subject_.recipient.empty()) subject_.recipient = target->alert_phone;
    auto credential = gateway->credential();
    if (!credential) return fail(std::move(credential.error()));
    return Found{std::move(*credential), std::move(gateway)};
  }

  void check(const Found& found) {
    const Twilio twilio(config_.twilio_base_url);
    HttpCaller caller(config_.request_timeout);
    CheckTerms terms = blocking_terms(caller);
    terms.patience = std::chrono::seconds(options_.patience_seconds);
    Checker checker(std::move(terms), twilio, found.credential, found.queue.get());
    while (results_.size() < selected_.size() && !has_failed())
      add(selected_[results_.size()]->run(checker, subject_.recipient));
  }

  CheckResult failed_before(Problem problem) const {
    CheckResult result{selected_.front()->name, selected_.front()->title};
    result.state = State::failed;
    result.problem = std::move(problem);
    return result;
  }

  bool has_failed() const { return !results_.empty() && results_.back().state == State::failed; }

  int finish() {
    const std::string reason = results_.back().title + " failed";
    while (results_.size() < selected_.size()) {
      const Step& step = *selected_[results_.size()];
      CheckResult skipped{step.name, step.title, State::skipped};
      skipped.reason = reason;
      add(std::move(skipped));
    }
    print("\n" + total_line(results_) + "\n");
    if (options_.json) fmt::print("{}", to_json(subject_, results_));
    return exit_code(results_);
  }

  void add(CheckResult result) {
    print(to_text(result, colors_));
    results_.push_back(std::move(result));
  }

  // Each check's lines as soon as it is done: following a message takes its time.
  void print(const std::string& text) const {
    if (options_.json) return;
    fmt::print("{}", text);
    std::fflush(stdout);
  }

  const CheckOptions& options_;
  const Config& config_;
  const Environment& environment_;
  std::vector<const Step*> selected_;
  bool sends_ = false;
  bool colors_ = wants_colors();
  CheckSubject subject_;
  std::vector<CheckResult> results_;
};

}  // namespace

int check_command(const CheckOptions& options, const Config& config, const Environment& environment) {
  for (const auto& name : options.only)
    if (std::none_of(std::begin(steps), std::end(steps), [&](const Step& step) { return name == step.name; }))
      return complain(fmt::format("--only takes account, number, test_sms and hot_lead_sms, not '{}'", name));
  CheckOptions chosen = options;
  if (chosen.org_id.empty() && !chosen.environment) {
    // The only account that is named anywhere.
    chosen.environment = environment("TWILIO_ACCOUNT_SID").has_value();
    if (!chosen.environment) return complain("say which account: --org UUID, or --env for that of TWILIO_ACCOUNT_SID");
  }
  if (!chosen.org_id.empty() && !is_uuid(chosen.org_id))
    return complain("--org must be a UUID, not '" + chosen.org_id + "'");
  return Run(chosen, config, environment).run();
}

}  // namespace byocd
