#include "identities.h"

#include <algorithm>

#include "../uuid.h"

namespace byocd {

std::string Identities::renew() {
  if (held_.count(current_) == 0) renewed_until_.erase(current_);
  current_ = random_uuid();
  return current_;
}

void Identities::settle(const std::string& identity) {
  const auto held = held_.find(identity);
  if (held == held_.end() || --held->second > 0) return;
  held_.erase(held);
  if (identity != current_) renewed_until_.erase(identity);
}

std::vector<std::string> Identities::to_renew() const {
  std::vector<std::string> identities;
  for (const auto& [identity, count] : held_) identities.push_back(identity);
  if (!current_.empty() && held_.count(current_) == 0) identities.push_back(current_);
  return identities;
}

void Identities::renewed(const std::string& identity, Clock::time_point sent) {
  if (identity == current_ || held_.count(identity) != 0) renewed_until_[identity] = sent + lease_;
}

bool Identities::surely_held(const Claim& claim, Clock::time_point now) const {
  return now + lease_ / 3 <= held_until(claim);
}

Clock::time_point Identities::held_until(const Claim& claim) const {
  auto until = claim.leased_until;
  if (const auto renewed = renewed_until_.find(claim.dispatcher); renewed != renewed_until_.end())
    until = std::max(until, renewed->second);
  return until;
}

}  // namespace byocd
