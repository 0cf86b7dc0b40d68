#include "dispatcher.h"

#include <utility>

#include "../log.h"
#include "../redact.h"

namespace byocd {

namespace {

using namespace std::chrono_literals;
using std::chrono::microseconds;

constexpr auto silence_check = 250ms;

// More in a row than chance brings where three of ten fail; the database has long opened the breaker then.
constexpr int hopeless_failures = 10;

Outcome returned() {
  return {};
}

Outcome with_code(OutcomeKind kind, std::string code, std::string message) {
  Outcome outcome;
  outcome.kind = kind;
  outcome.error_code = std::move(code);
  outcome.error_message = std::move(message);
  return outcome;
}

void report(const ClaimedJob& job, const Outcome& outcome, microseconds duration) {
  const log::Ids ids{{"message_id", job.id}, {"org_id", job.org_id}};
  if (outcome.kind == OutcomeKind::accepted || outcome.kind == OutcomeKind::returned) {
    log::debug(ids, "message {} of organization {}: {} after {} us, attempt {}", job.id, job.org_id,
               to_string(outcome.kind), duration.count(), job.attempt);
    return;
  }
  // Not the provider's sentence: it may quote the number or the text.
  log::info(ids, "message {} of organization {} to {}: {} ({}), attempt {}", job.id, job.org_id,
            masked_number(job.to_number), to_string(outcome.kind), outcome.error_code.value_or("no code"), job.attempt);
}

}  // namespace

Dispatcher::Dispatcher(Parts parts, Hooks hooks)
    : parts_(parts),
      hooks_(std::move(hooks)),
      silence_timer_(parts.timers.make_timer([this] { look_for_silence(); })) {}

void Dispatcher::dispatch(std::vector<ClaimedJob> jobs) {
  in_flight_ += static_cast<int>(jobs.size());
  std::vector<Job> in_lanes;
  in_lanes.reserve(jobs.size());
  for (auto& job : jobs) {
    const auto lane = parts_.lanes.add(job.lane);
    in_lanes.push_back(std::make_shared<LaneJob>(std::move(job), lane));
  }
  for (const auto& job : in_lanes) start(job);
  parts_.credentials.flush();
  parts_.http.flush();
}

void Dispatcher::start(const Job& job) {
  if (draining_) return finish(job, returned());
  if (!job->credential_id)
    return finish(job, with_code(OutcomeKind::rejected, "no_credential",
                                 "the organization has no usable credential for " + job->provider));
  parts_.credentials.get({job->org_id, *job->credential_id}, job->credential_version,
                         [this, job](const CredentialCache::Answer& answer) { on_credential(job, answer); });
}

void Dispatcher::on_credential(const Job& job, const CredentialCache::Answer& answer) {
  if (draining_ || LaneLoads::held(job->load)) return finish(job, returned());
  if (!answer) {
    if (answer.error().kind != CredentialCache::Problem::Kind::unreadable) return finish(job, returned());
    return finish(job, with_code(OutcomeKind::unavailable, "credential_unreadable", answer.error().message));
  }
  const MessageProvider* provider = parts_.registry.find_as<MessageProvider>((*answer)->provider);
  if (!provider)
    return finish(job, with_code(OutcomeKind::rejected, "unknown_provider",
                                 "this byocd cannot send through " + (*answer)->provider));
  const Ready ready{job, provider, *answer};
  // Not before those of its lane that wait already.
  if (parts_.lanes.may_send(job->load) && waiting_by_lane_.count(job->load) == 0)
    send(ready);
  else
    wait(ready);
}

void Dispatcher::wait(const Ready& ready) {
  const auto [found, is_new] = waiting_by_lane_.try_emplace(ready.job->load);
  if (is_new) found->second = waiting_.insert(waiting_.end(), {ready.job->load, {}, 0});
  found->second->jobs.push_back(ready);
}

void Dispatcher::send_waiting() {
  for (bool sent = true; sent;) {
    sent = false;
    for (auto next = waiting_.begin(); next != waiting_.end() && parts_.lanes.may_send();) {
      const auto turn = next++;
      if (!parts_.lanes.may_send(turn->lane)) continue;
      const Ready ready = std::move(turn->jobs.front());
      turn->jobs.pop_front();
      if (turn->jobs.empty()) {
        waiting_by_lane_.erase(turn->lane);
        waiting_.erase(turn);
      } else {
        waiting_.splice(waiting_.end(), waiting_, turn);
      }
      send(ready);
      sent = true;
    }
  }
}

void Dispatcher::look_for_silence() {
  if (parts_.lanes.find_silent(parts_.timers.now())) hooks_.on_slot_freed();
  if (in_flight_ > 0) silence_timer_->start(silence_check);
}

void Dispatcher::drain() {
  draining_ = true;
  waiting_by_lane_.clear();
  give_back(std::exchange(waiting_, {}));
}

void Dispatcher::give_back(const WaitingLanes& lanes) {
  for (const auto& lane : lanes)
    for (const auto& ready : lane.jobs) finish(ready.job, returned());
}

void Dispatcher::give_back_if_hopeless(LaneLoads::Lane lane, const Outcome& outcome) {
  const auto found = waiting_by_lane_.find(lane);
  if (found == waiting_by_lane_.end()) return;
  int& failures = found->second->failures;
  const bool failed = outcome.kind == OutcomeKind::unavailable || outcome.kind == OutcomeKind::throttled ||
                      outcome.kind == OutcomeKind::unknown;
  failures = failed ? failures + 1 : 0;
  if (failures < hopeless_failures && !outcome.refuses_account) return;
  WaitingLanes hopeless;
  hopeless.splice(hopeless.end(), waiting_, found->second);
  waiting_by_lane_.erase(found);
  give_back(hopeless);
}

void Dispatcher::send(const Ready& ready) {
  const Job& job = ready.job;
  const MessageProvider& provider = *ready.provider;
  const OpenedCredential& credential = *ready.credential;
  const auto begin = parts_.timers.now();
  if (!parts_.identities.surely_held(*job->claim, begin)) {
    log::warn({{"message_id", job->id}, {"org_id", job->org_id}},
              "message {} of organization {} is not sent: its lease may have run out", job->id, job->org_id);
    return finish(job, returned());
  }
  if (hooks_.receipt_address)
    job->receipt_address = hooks_.receipt_address(*job, provider.verifies_callbacks(credential.fields));
  const bool called_back = job->receipt_address.has_value();
  auto request = provider.prepare(*job, credential.fields);
  if (!request) return finish(job, with_code(OutcomeKind::rejected, request.error().code, request.error().message));
  request->not_after = parts_.identities.held_until(*job->claim);
  parts_.lanes.begin(job->load, begin);
  if (!silence_timer_->pending()) silence_timer_->start(silence_check);
  parts_.http.send(std::move(*request), [this, job, &provider, begin, called_back](const HttpResult& result) {
    const auto now = parts_.timers.now();
    parts_.lanes.end(job->load, result.ok(), now);
    const auto duration = std::chrono::duration_cast<microseconds>(now - begin);
    typical_duration_ = typical_duration_.count() == 0 ? duration : (typical_duration_ * 15 + duration) / 16;
    Outcome outcome = provider.interpret(result);
    // While it is not finished its lane is there.
    give_back_if_hopeless(job->load, outcome);
    finish(job, std::move(outcome), duration, called_back);
    send_waiting();
  });
}

void Dispatcher::finish(const Job& job, Outcome outcome, microseconds duration, bool called_back) {
  report(*job, outcome, duration);
  JobOutcome done;
  done.claim = job->claim;
  done.org_id = job->org_id;
  done.id = job->id;
  done.attempt = job->attempt;
  done.retry_delay = parts_.retry_policy.delay(job->attempt, outcome.retry_after);
  done.duration = std::chrono::duration_cast<std::chrono::milliseconds>(duration);
  if (outcome.refuses_account) done.hold = parts_.lanes.hold(job->load);
  done.outcome = std::move(outcome);
  done.called_back = called_back;
  --in_flight_;
  parts_.lanes.remove(job->load);
  hooks_.on_outcome(std::move(done));
  hooks_.on_slot_freed();
}

}  // namespace byocd
