#include "verifier.h"

#include <algorithm>

#include "../log.h"

namespace byocd {

namespace {

using namespace std::chrono_literals;

constexpr int most_checks = 16;
// A check is never urgent to the millisecond; a message is, and goes first.
constexpr auto verification_delay = 50ms;

Verdict undecided(const char* code, const char* cause, const char* fix) {
  return {Verdict::Kind::retry, {code, cause, fix}};
}

}  // namespace

Verifier::Verifier(Parts parts, std::chrono::milliseconds poll_interval)
    : parts_(parts), poll_interval_(poll_interval), timer_(parts.timers.make_timer([this] { claim(); })) {}

void Verifier::wake() {
  const auto soon = parts_.timers.now() + verification_delay;
  if (stopped_ || claiming_ || (timer_->pending() && next_look_ <= soon)) return;
  next_look_ = soon;
  timer_->start(verification_delay);
}

void Verifier::connection_changed() {
  if (parts_.gateway.can_record() && parts_.gateway.can_claim()) wake();
}

void Verifier::stop() {
  stopped_ = true;
  timer_->stop();
}

void Verifier::claim() {
  next_look_ = parts_.timers.now() + poll_interval_;
  timer_->start(poll_interval_);
  // The identity must be registered before it claims.
  if (claiming_ || running_ >= most_checks || !parts_.gateway.can_record() || !parts_.gateway.can_claim()) return;
  claiming_ = true;
  parts_.gateway.claim_verifications(most_checks - running_, [this](auto result) {
    claiming_ = false;
    if (!result) {
      if (!result.error().connection_lost) log::error("claiming verifications failed: {}", result.error().text());
      return;
    }
    for (auto& job : *result) start(std::move(job));
    parts_.credentials.flush();
    parts_.http.flush();
  });
}

void Verifier::start(VerificationJob job) {
  ++running_;
  const CredentialRef ref{job.org_id, job.id};
  const int version = job.version;
  parts_.credentials.get(ref, version, [this, job = std::move(job)](const CredentialCache::Answer& answer) {
    if (!answer) {
      // Perhaps the server lacks a master key for now.
      const bool unreadable = answer.error().kind == CredentialCache::Problem::Kind::unreadable;
      return finish(job, unreadable ? undecided("unreadable", "The stored credential cannot be decrypted.",
                                                "Ask who runs this server, or enter it again.")
                                    : Verdict{});
    }
    authorize(job, *answer);
  });
}

// With a new access token where the provider wants one: that it can be had is half of the check.
void Verifier::authorize(const VerificationJob& job, const CredentialCache::Credential& credential) {
  const Provider* provider = parts_.registry.find(credential->provider);
  if (!provider)
    return finish(
        job, undecided("unknown_provider", "This server cannot check credentials of this kind.", "Ask who runs it."));
  if (stopped_) return finish(job, Verdict{});
  parts_.tokens.renew(credential, [this, job, provider](const AccessTokens::Answer& answer) {
    if (!answer)
      return finish(job, {answer.error().unreachable ? Verdict::Kind::retry : Verdict::Kind::failed, answer.error()});
    next_step(std::make_shared<Check>(Check{job, *answer, provider, 0}));
  });
}

void Verifier::next_step(const CheckPtr& check) {
  if (stopped_) return finish(check->job, Verdict{});
  auto request = check->provider->prepare_verification(check->credential->fields, check->step);
  if (!request) return finish(check->job, {Verdict::Kind::failed, request.error()});
  parts_.http.send(std::move(*request), [this, check](const HttpResult& result) {
    const Verdict verdict = check->provider->interpret_verification(check->credential->fields, check->step, result);
    if (verdict.kind != Verdict::Kind::next) return finish(check->job, verdict);
    ++check->step;
    next_step(check);
  });
}

void Verifier::finish(const VerificationJob& job, const Verdict& verdict) {
  const char* status = verdict.kind == Verdict::Kind::verified ? "verified"
                       : verdict.kind == Verdict::Kind::failed ? "failed"
                                                               : "retry";
  log::info({{"credential_id", job.id}, {"org_id", job.org_id}},
            "credential {} of organization {}: verification says {}", job.id, job.org_id, status);
  std::optional<std::string> sentence;
  if (!verdict.problem.cause.empty()) sentence = verdict.problem.text();
  if (!verdict.note.empty()) sentence = verdict.note;
  parts_.gateway.record_verification(job, status, sentence, [this](const Result<Done, DbError>& result) {
    --running_;
    // A lost answer is no loss: the claim on the check ends with its lease, and it is done again.
    if (!result && !result.error().connection_lost)
      log::error("recording a verification failed: {}", result.error().text());
    if (!stopped_) wake();
  });
}

}  // namespace byocd
