#include "reconciler.h"

#include <algorithm>

#include "../log.h"
#include "../redact.h"

namespace byocd {

namespace {

using namespace std::chrono_literals;
using State = MessageListing::State;

constexpr int most_lists = 8;
// Of 200 messages: more than that to one number in the time of an attempt is not looked through.
constexpr int most_pages = 25;
// After a list there may be others that are due, for which there was no room.
constexpr auto next_look = 20ms;

}  // namespace

Reconciler::Reconciler(Parts parts, std::chrono::milliseconds poll_interval)
    : parts_(parts), poll_interval_(poll_interval), timer_(parts.timers.make_timer([this] { claim(); })) {}

void Reconciler::connection_changed() {
  if (!stopped_ && !timer_->pending() && parts_.gateway.can_record() && parts_.gateway.can_claim())
    timer_->start(next_look);
}

void Reconciler::stop() {
  stopped_ = true;
  timer_->stop();
}

void Reconciler::claim() {
  timer_->start(poll_interval_);
  // Only where claims are allowed: not in a copied database.
  if (claiming_ || running_ >= most_lists || !parts_.gateway.can_record() || !parts_.gateway.can_claim()) return;
  claiming_ = true;
  parts_.gateway.claim_reconciliations(most_lists - running_, [this](auto result) {
    claiming_ = false;
    if (!result) {
      if (!result.error().connection_lost) log::error("claiming reconciliations failed: {}", result.error().text());
      return;
    }
    for (auto& job : *result) start(std::move(job));
    parts_.credentials.flush();
    parts_.http.flush();
  });
}

void Reconciler::start(ReconciliationJob job) {
  ++running_;
  auto reading = std::make_shared<Reading>();
  reading->job = std::move(job);
  const CredentialRef ref{reading->job.org_id, reading->job.credential_id};
  parts_.credentials.get(ref, reading->job.credential_version, [this, reading](const CredentialCache::Answer& answer) {
    if (!answer) {
      const bool unreadable = answer.error().kind == CredentialCache::Problem::Kind::unreadable;
      return finish(reading, unreadable ? State::refused : State::unavailable, "the credential could not be opened");
    }
    reading->credential = *answer;
    reading->provider = parts_.registry.find_as<MessageProvider>((*answer)->provider);
    if (!reading->provider) return finish(reading, State::refused, "this byocd does not know the provider");
    next_page(reading);
  });
}

void Reconciler::next_page(const ReadingPtr& reading) {
  if (stopped_) return finish(reading, State::unavailable, "byocd is stopping");
  auto request = reading->provider->prepare_list(reading->job, reading->credential->fields, reading->next);
  if (!request) return finish(reading, State::refused, request.error().message);
  parts_.http.send(std::move(*request), [this, reading](const HttpResult& result) {
    auto page = reading->provider->interpret_list(result);
    if (!page) return finish(reading, page.error().state, page.error().message);
    on_page(reading, std::move(*page));
  });
}

void Reconciler::on_page(const ReadingPtr& reading, ListedPage page) {
  const auto since = reading->job.since;
  for (auto& message : page.messages)
    if (message.created_at >= since) reading->listing.messages.push_back(std::move(message));
  if (page.next.empty() || (page.oldest && *page.oldest < since)) return finish(reading, State::complete);
  if (++reading->pages >= most_pages) return finish(reading, State::incomplete, "it is too long to be read");
  reading->next = std::move(page.next);
  next_page(reading);
}

void Reconciler::finish(const ReadingPtr& reading, State state, std::string problem) {
  const ReconciliationJob& job = reading->job;
  reading->listing.state = state;
  reading->listing.problem = std::move(problem);
  if (state != State::complete)
    log::warn("the message list of organization {} for {} was not read: {}", job.org_id, masked_number(job.to_number),
              reading->listing.problem);
  parts_.gateway.record_reconciliation(job, reading->listing, [this, reading](const Result<int, DbError>& result) {
    --running_;
    // A lost answer is no loss: the list comes up again after its lease.
    if (!result) {
      if (!result.error().connection_lost) log::error("recording a message list failed: {}", result.error().text());
    } else if (*result > 0) {
      log::info("organization {}: the message list for {} settled {} messages", reading->job.org_id,
                masked_number(reading->job.to_number), *result);
    }
    if (!stopped_ && !claiming_) timer_->start(next_look);
  });
}

}  // namespace byocd
