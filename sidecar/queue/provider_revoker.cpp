#include "provider_revoker.h"

#include "../log.h"
#include "../providers/oauth.h"

namespace byocd {

namespace {

using namespace std::chrono_literals;

constexpr int most_revocations = 4;
// Never urgent to the millisecond.
constexpr auto revocation_delay = 50ms;

}  // namespace

ProviderRevoker::ProviderRevoker(Parts parts, std::chrono::milliseconds poll_interval)
    : parts_(parts), poll_interval_(poll_interval), timer_(parts.timers.make_timer([this] { claim(); })) {}

void ProviderRevoker::wake() {
  const auto soon = parts_.timers.now() + revocation_delay;
  if (stopped_ || claiming_ || !parts_.gateway.ready() || (timer_->pending() && next_look_ <= soon)) return;
  next_look_ = soon;
  timer_->start(revocation_delay);
}

void ProviderRevoker::stop() {
  stopped_ = true;
  timer_->stop();
}

void ProviderRevoker::claim() {
  next_look_ = parts_.timers.now() + poll_interval_;
  timer_->start(poll_interval_);
  if (claiming_ || running_ >= most_revocations || !parts_.gateway.ready()) return;
  claiming_ = true;
  parts_.gateway.claim_revocations(most_revocations - running_, [this](auto result) {
    claiming_ = false;
    if (!result) {
      if (!result.error().connection_lost) log::error("claiming revocations failed: {}", result.error().text());
      return;
    }
    if (stopped_) return;  // they come up again after their lease
    for (auto& revocation : *result) revoke(std::move(revocation));
  });
}

void ProviderRevoker::revoke(Revocation revocation) {
  ++running_;
  const Provider* provider = parts_.registry.find(revocation.provider);
  const OAuthProvider* oauth = provider ? provider->oauth() : nullptr;
  if (!oauth) return record(revocation.org_id, revocation.id, false);
  auto request = oauth->prepare_revocation(revocation.refresh_token);
  parts_.http.send(std::move(request),
                   [this, oauth, org_id = revocation.org_id, id = revocation.id](const HttpResult& result) {
                     const auto problem = oauth->interpret_revocation(result);
                     if (problem)
                       log::warn("organization {}: access could not be revoked at the provider yet: {} ({})", org_id,
                                 problem->cause, problem->code);
                     record(org_id, id, !problem);
                   });
}

void ProviderRevoker::record(const std::string& org_id, const std::string& id, bool revoked) {
  parts_.gateway.record_revocation(org_id, id, revoked, [this](const Result<Done, DbError>& result) {
    --running_;
    // A lost answer is no loss: it comes up again, and revoking twice does no harm.
    if (!result && !result.error().connection_lost)
      log::error("recording a revocation failed: {}", result.error().text());
    wake();
  });
}

}  // namespace byocd
