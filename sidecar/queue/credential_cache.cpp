#include "credential_cache.h"

#include <algorithm>

namespace byocd {

namespace {

using namespace std::chrono_literals;

constexpr auto longest_unused = 5min;
constexpr auto sweep_interval = 1min;

}  // namespace

CredentialCache::CredentialCache(Gateway& gateway, Timers& timers, Credential fallback)
    : gateway_(gateway),
      timers_(timers),
      fallback_(std::move(fallback)),
      sweep_timer_(timers.make_timer([this] { sweep(); })) {}

void CredentialCache::get(const CredentialRef& ref, int version, std::function<void(Answer)> callback) {
  if (ref.id == environment_credential_id)
    return callback(fallback_ ? Answer(fallback_) : fail(Problem{Problem::Kind::inactive, ""}));
  if (const auto found = entries_.find(ref.id); found != entries_.end()) {
    if (found->second.credential->version >= version) {
      found->second.last_used = timers_.now();
      const Credential credential = found->second.credential;
      return callback(credential);
    }
    entries_.erase(found);
  }
  auto& waiting = waiting_[ref.id];
  waiting.ref = ref;
  waiting.version = std::max(waiting.version, version);
  waiting.callbacks.push_back(std::move(callback));
}

void CredentialCache::flush() {
  std::vector<CredentialRef> refs;
  std::vector<std::string> ids;
  for (auto& [id, waiting] : waiting_) {
    if (waiting.asked) continue;
    waiting.asked = true;
    refs.push_back(waiting.ref);
    ids.push_back(id);
  }
  if (refs.empty()) return;
  gateway_.open_credentials(refs, [this, ids](auto result) { on_opened(ids, std::move(result)); });
}

void CredentialCache::on_opened(const std::vector<std::string>& ids,
                                Result<std::vector<OpenedCredential>, DbError> result) {
  using Kind = Problem::Kind;
  if (!result) {
    for (const auto& id : ids) answer(id, fail(Problem{Kind::no_answer, result.error().text()}));
    return;
  }
  for (auto& opened : *result) {
    const std::string id = opened.id;
    if (opened.error) {
      answer(id, fail(Problem{Kind::unreadable, *opened.error}));
      continue;
    }
    // The question was asked before the change that a later claim saw.
    const auto waiting = waiting_.find(id);
    if (waiting != waiting_.end() && opened.version < waiting->second.version) continue;
    const auto credential = std::make_shared<const OpenedCredential>(std::move(opened));
    entries_[id] = Entry{credential, timers_.now()};
    if (!sweep_timer_->pending()) sweep_timer_->start(sweep_interval);
    answer(id, credential);
  }
  for (const auto& id : ids) answer(id, fail(Problem{Kind::inactive, ""}));  // those that nobody answered
}

void CredentialCache::answer(const std::string& id, const Answer& answer) {
  const auto found = waiting_.find(id);
  if (found == waiting_.end()) return;
  const auto callbacks = std::move(found->second.callbacks);
  waiting_.erase(found);
  for (const auto& callback : callbacks) callback(answer);
}

void CredentialCache::sweep() {
  for (auto entry = entries_.begin(); entry != entries_.end();)
    entry = timers_.now() - entry->second.last_used >= longest_unused ? entries_.erase(entry) : std::next(entry);
  if (!entries_.empty()) sweep_timer_->start(sweep_interval);
}

}  // namespace byocd
