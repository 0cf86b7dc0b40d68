#include "status_poller.h"

#include <algorithm>

#include "../log.h"
#include "../providers/message_provider.h"

namespace byocd {

namespace {

using namespace std::chrono_literals;

constexpr int most_lookups = 8;
constexpr std::chrono::milliseconds shortest_interval = 100ms;
// Messages of one organization that were sent within this time share a row.
constexpr auto note_delay = 1s;
// What a long outage of the connection may pile up: a message beyond it is not asked about.
constexpr std::size_t most_expected = 100'000;

}  // namespace

StatusPoller::StatusPoller(Parts parts, std::chrono::milliseconds interval, std::function<bool()> may_poll)
    : parts_(parts),
      interval_(std::max(interval, shortest_interval)),
      may_poll_(std::move(may_poll)),
      note_timer_(parts.timers.make_timer([this] { note(); })),
      look_timer_(parts.timers.make_timer([this] { look(); })) {}

void StatusPoller::expect(const std::vector<JobOutcome>& outcomes) {
  for (const auto& outcome : outcomes)
    if (outcome.outcome.kind == OutcomeKind::accepted && outcome.outcome.provider_sid &&
        expected_.size() < most_expected)
      expected_.push_back({outcome.org_id, outcome.id, outcome.called_back});
  if (expected_.empty()) return;
  if (stopped_)
    note();  // the process is about to end
  else if (!note_timer_->pending())
    note_timer_->start(note_delay);
}

void StatusPoller::connection_changed() {
  if (!parts_.gateway.ready()) return look_timer_->stop();
  note();
  if (!stopped_) look();
}

void StatusPoller::stop() {
  stopped_ = true;
  look_timer_->stop();
  note();
}

void StatusPoller::note() {
  if (!noting_.empty() || expected_.empty() || !parts_.gateway.ready()) return;
  noting_.swap(expected_);
  parts_.gateway.expect_receipts(noting_, [this](const Result<Done, DbError>& result) {
    const auto messages = std::exchange(noting_, {});
    if (!result && result.error().transient()) {
      expected_.insert(expected_.end(), messages.begin(), messages.end());
    } else if (!result) {
      log::error("{} sent messages could not be noted: {}", messages.size(), result.error().text());
    }
    if (expected_.empty()) return;
    if (stopped_ && result)
      note();
    else
      note_timer_->start(note_delay);
  });
}

void StatusPoller::look() {
  look_timer_->start(interval_);
  if (looking_ || running_ >= most_lookups || !parts_.gateway.ready() || !may_poll_()) return;
  looking_ = true;
  parts_.gateway.claim_status_checks(most_lookups - running_, [this](auto result) {
    looking_ = false;
    if (!result) {
      if (!result.error().connection_lost) log::error("claiming status checks failed: {}", result.error().text());
      return;
    }
    for (auto& check : *result) start(std::move(check));
    parts_.credentials.flush();
    parts_.http.flush();
  });
}

void StatusPoller::start(StatusCheck check) {
  ++running_;
  const CredentialRef ref{check.org_id, check.credential_id};
  const int version = check.credential_version;
  parts_.credentials.get(ref, version, [this, check = std::move(check)](const CredentialCache::Answer& answer) {
    if (answer && !stopped_)
      ask(check, *answer);
    else
      --running_;
  });
}

void StatusPoller::ask(const StatusCheck& check, const CredentialCache::Credential& credential) {
  const MessageProvider* provider = parts_.registry.find_as<MessageProvider>(check.provider);
  auto request = provider ? provider->prepare_status(credential->fields, check.provider_sid)
                          : Result<HttpRequest, PrepareError>(fail(PrepareError{"unknown_provider", ""}));
  if (!request) {
    --running_;
    return;
  }
  parts_.http.send(std::move(*request), [this, check, provider](const HttpResult& result) {
    --running_;
    auto facts = provider->interpret_status(result);
    log::debug({{"message_id", check.id}, {"org_id", check.org_id}}, "message {} of organization {}: its status is {}",
               check.id, check.org_id, facts ? facts->status : "not known");
    if (facts) parts_.recorder.add({check.org_id, check.id, check.attempt, std::move(*facts), false}, nullptr);
  });
}

}  // namespace byocd
