#include "call_runner.h"

#include <algorithm>
#include <utility>

#include "../log.h"
#include "retry_policy.h"

namespace byocd {

namespace {

using namespace std::chrono_literals;
using Kind = CallOutcome::Kind;

// The least time between two looks: those who are busy with messages are woken all the time. Where a look takes long
// (there are calls of very many credentials) they keep the database busy for a fifth of the time.
constexpr Clock::duration shortest_rest = 5ms;
constexpr int rests_a_look = 4;
// A provider whose answers lead from request to request for ever.
constexpr int most_requests_of_a_call = 6;

CallOutcome with_code(Kind kind, std::string code, std::string message) {
  CallOutcome outcome;
  outcome.kind = kind;
  outcome.error_code = std::move(code);
  outcome.error_message = std::move(message);
  return outcome;
}

}  // namespace

CallRunner::CallRunner(Parts parts, Options options, OnOutcome on_outcome)
    : parts_(parts),
      options_(options),
      on_outcome_(std::move(on_outcome)),
      recorder_(parts.gateway, parts.timers, [this] { wake(); }),
      timer_(parts.timers.make_timer([this] { claim(); })),
      rest_(shortest_rest) {}

void CallRunner::wake() {
  if (stopped_) return;
  if (claiming_) {
    woken_ = true;
    return;
  }
  const auto now = parts_.timers.now();
  const auto at = std::max(now, last_look_ + rest_);
  if (at == now) return claim();
  if (timer_->pending() && next_look_ <= at) return;
  next_look_ = at;
  timer_->start(std::chrono::duration_cast<std::chrono::microseconds>(at - now));
}

void CallRunner::connection_changed() {
  recorder_.connection_changed();
  if (parts_.gateway.can_record() && parts_.gateway.can_claim()) wake();
}

void CallRunner::stop() {
  stopped_ = true;
  timer_->stop();
}

void CallRunner::claim() {
  next_look_ = parts_.timers.now() + options_.poll_interval;
  timer_->start(options_.poll_interval);
  // The identity must be registered before it claims.
  if (claiming_ || running_ >= options_.most_calls || !parts_.gateway.can_record() || !parts_.gateway.can_claim())
    return;
  last_look_ = parts_.timers.now();
  claiming_ = true;
  parts_.gateway.claim_calls(options_.most_calls - running_, options_.most_of_a_credential,
                             [this](auto result) { on_claimed(std::move(result)); });
}

void CallRunner::on_claimed(Result<std::vector<ClaimedCall>, DbError> result) {
  claiming_ = false;
  rest_ = std::max(shortest_rest, (parts_.timers.now() - last_look_) * (1 + rests_a_look));
  if (!result) {
    if (!result.error().connection_lost) log::error("claiming calls failed: {}", result.error().text());
    return;
  }
  // A request that is written in the first half of the lease has its answer, or none, before another byocd can have
  // the call.
  const auto not_after = last_look_ + options_.lease / 2;
  for (auto& call : *result) {
    call.not_after = not_after;
    start(std::move(call));
  }
  parts_.credentials.flush();
  parts_.http.flush();
  if (std::exchange(woken_, false)) wake();
}

void CallRunner::start(ClaimedCall call) {
  ++running_;
  auto run = std::make_shared<Run>();
  run->call = std::move(call);
  run->begin = parts_.timers.now();
  if (!run->call.credential_id)
    return finish(run, with_code(Kind::rejected, "no_credential",
                                 "the organization has no usable credential for " + run->call.credential_type));
  parts_.credentials.get(
      {run->call.org_id, *run->call.credential_id}, run->call.credential_version,
      [this, run](const CredentialCache::Answer& answer) {
        if (answer) return authorize(run, *answer);
        const bool unreadable = answer.error().kind == CredentialCache::Problem::Kind::unreadable;
        finish(run, unreadable ? with_code(Kind::unavailable, "credential_unreadable", answer.error().message)
                               : CallOutcome{});
      });
}

void CallRunner::authorize(const RunPtr& run, const CredentialCache::Credential& credential) {
  run->credential = credential;
  run->provider = parts_.registry.find_as<CallProvider>(credential->provider);
  if (!run->provider)
    return finish(
        run, with_code(Kind::rejected, "unknown_provider", "this byocd makes no calls to " + credential->provider));
  parts_.tokens.get(credential, [this, run](const AccessTokens::Answer& authorized) {
    if (authorized) return send(run, *authorized);
    const Problem& problem = authorized.error();
    finish(run,
           with_code(problem.unreachable ? Kind::unavailable : Kind::bad_credential, problem.code, problem.text()));
  });
}

void CallRunner::send(const RunPtr& run, const CredentialCache::Credential& authorized) {
  if (stopped_) return finish(run, CallOutcome{});
  if (++run->requests > most_requests_of_a_call)
    return finish(run, with_code(Kind::rejected, "endless", "the provider's answers lead in a circle"));
  auto request = run->provider->prepare_call(run->call, authorized->fields, run->step);
  if (!request) return finish(run, with_code(Kind::rejected, request.error().code, request.error().message));
  request->not_after = run->call.not_after;
  parts_.http.send(std::move(*request),
                   [this, run, authorized](const HttpResult& result) { on_answer(run, authorized, result); });
  parts_.http.flush();
}

void CallRunner::on_answer(const RunPtr& run, const CredentialCache::Credential& authorized, const HttpResult& result) {
  run->written = run->written || result || result.error().possibly_written;
  // A token may be taken back before its time is over: once more with a fresh one.
  if (result && result->status == 401 && run->provider->oauth() && !std::exchange(run->token_renewed, true)) {
    parts_.tokens.refused(authorized);
    return authorize(run, run->credential);
  }
  auto outcome = run->provider->interpret_call(run->call, run->step, result);
  if (outcome.kind != Kind::next) return finish(run, std::move(outcome));
  run->step = outcome.next_step;
  send(run, authorized);
}

void CallRunner::finish(const RunPtr& run, CallOutcome outcome) {
  const ClaimedCall& call = run->call;
  // What is given back counts as never tried.
  if (outcome.kind == Kind::returned && run->written)
    outcome = with_code(Kind::unavailable, "interrupted", "it was broken off half way");
  if (outcome.kind == Kind::accepted || outcome.kind == Kind::returned)
    log::debug("call {} of organization {} ({}): {}, attempt {}", call.id, call.org_id, call.operation,
               to_string(outcome.kind), call.attempt);
  else  // Not the provider's sentence: it may quote what was sent.
    log::info("call {} of organization {} ({}): {} ({}), attempt {}", call.id, call.org_id, call.operation,
              to_string(outcome.kind), outcome.error_code.value_or("no code"), call.attempt);
  if (on_outcome_) on_outcome_(call, outcome, parts_.timers.now() - run->begin);
  if (outcome.retry_after) outcome.retry_after = std::min(*outcome.retry_after, longest_retry_after);
  --running_;
  recorder_.add({call.org_id, call.id, call.claim_id, std::move(outcome)});
}

}  // namespace byocd
