#include "messages.h"

#include <random>
#include <utility>

namespace simulator {
namespace {

// Growing the recipient index rehashes it, a pause that would show up as latency in a benchmark; it starts large enough
// for one.
constexpr std::size_t expected_recipients = 1'000'000;

std::uint64_t random_seed() {
  std::random_device device;
  return (std::uint64_t{device()} << 32) | device();
}

bool matches(const message& candidate, const message_filter& filter, timestamp when) {
  if (!filter.to.empty() && candidate.to != filter.to) return false;
  if (filter.created_until && candidate.received > *filter.created_until) return false;
  if (filter.from.empty() && !filter.sent_from && !filter.sent_until) return true;
  const auto state = state_at(candidate, when);
  if (!filter.from.empty() && (candidate.from != filter.from || !state.sender_is_known)) return false;
  if (!filter.sent_from && !filter.sent_until) return true;
  if (!state.sent && filter.sent_only) return false;
  // A message that was not sent yet counts by its creation.
  const auto sent = state.sent.value_or(candidate.received);
  return (!filter.sent_from || sent >= *filter.sent_from) && (!filter.sent_until || sent < *filter.sent_until);
}

}  // namespace

message_state state_at(const message& subject, timestamp when) {
  message_state result{subject.with_service ? message_status::accepted : message_status::queued, subject.received,
                       std::nullopt, 0, !subject.with_service};
  for (const auto& each : subject.moves) {
    const auto reached = subject.received + std::chrono::milliseconds(each.after_ms);
    if (reached > when) return result;
    result.status = each.status;
    result.updated = reached;
    result.sender_is_known = true;
    if (each.status == message_status::sent) result.sent = reached;
  }
  result.error_code = subject.moves.error_code;
  return result;
}

message_store::message_store() : sids_(random_seed()) {
  reserve();
}

void message_store::reserve() {
  newest_to_.reserve(expected_recipients);
}

std::uint32_t message_store::account_index(std::string_view account_sid) {
  const auto [at, is_new] =
      account_indexes_.try_emplace(std::string(account_sid), static_cast<std::uint32_t>(account_sids_.size()));
  if (is_new) {
    account_sids_.emplace_back(account_sid);
    newest_in_account_.emplace_back();
  }
  return at->second;
}

const message& message_store::add(std::string_view account_sid, message value) {
  const auto serial = first_serial_ + messages_.size();
  value.sid = sids_.make(serial);
  value.account = account_index(account_sid);
  auto& stored = messages_.emplace_back(std::move(value));
  // The index keeps viewing the first message's text: a deque never moves what it holds.
  const auto [newest, is_new] = newest_to_.try_emplace(recipient{stored.account, stored.to}, serial);
  if (!is_new) {
    stored.previous_to = newest->second;
    newest->second = serial;
  }
  stored.previous_account = std::exchange(newest_in_account_[stored.account], serial);
  return stored;
}

const message* message_store::find(std::uint64_t serial) const {
  return serial >= first_serial_ && serial - first_serial_ < messages_.size() ? &messages_[serial - first_serial_]
                                                                              : nullptr;
}

const message* message_store::find(std::string_view account_sid, std::string_view sid) const {
  const auto serial = sids_.serial_of(sid);
  const auto* found = serial ? find(*serial) : nullptr;
  return found != nullptr && account_sids_[found->account] == account_sid ? found : nullptr;
}

std::optional<message_page> message_store::list(std::string_view account_sid, const message_filter& filter,
                                                const page_request& page, timestamp when) const {
  for (const auto& anchor : {page.after, page.before}) {
    if (!anchor.empty() && find(account_sid, anchor) == nullptr) return std::nullopt;
  }
  message_page result;
  const auto account = account_indexes_.find(std::string(account_sid));
  if (account == account_indexes_.end()) return result;
  const bool by_recipient = !filter.to.empty();
  auto next = newest_in_account_[account->second];
  if (by_recipient) {
    const auto newest = newest_to_.find(recipient{account->second, filter.to});
    next = newest == newest_to_.end() ? std::nullopt : std::optional(newest->second);
  }
  const auto follow = [&](const message& from) { return by_recipient ? from.previous_to : from.previous_account; };
  if (!page.after.empty()) {
    const auto& anchor = *find(account_sid, page.after);
    if (!by_recipient || anchor.to == filter.to) {
      next = follow(anchor);
    } else {
      // The filter changed between two pages: serials fall along the chain, so the anchor's place in it can still be
      // found.
      while (next && *next > *sids_.serial_of(page.after)) next = follow(*find(*next));
    }
  }
  const auto before = page.before.empty() ? std::nullopt : sids_.serial_of(page.before);
  std::size_t to_skip = page.after.empty() && !before ? page.page * page.page_size : 0;
  std::deque<const message*> window;
  for (; next; next = follow(*find(*next))) {
    if (before && *next <= *before) {
      result.has_more = true;
      break;
    }
    const auto* candidate = find(*next);
    if (!matches(*candidate, filter, when)) continue;
    if (to_skip > 0) {
      --to_skip;
      continue;
    }
    if (window.size() == page.page_size) {
      if (!before) {
        result.has_more = true;
        break;
      }
      window.pop_front();
    }
    window.push_back(candidate);
  }
  result.messages.assign(window.begin(), window.end());
  return result;
}

void message_store::clear() {
  first_serial_ += messages_.size();
  newest_to_.clear();
  newest_in_account_.assign(account_sids_.size(), std::nullopt);
  messages_.clear();
}

}  // namespace simulator
