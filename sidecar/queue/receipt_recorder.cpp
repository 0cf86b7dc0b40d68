#include "receipt_recorder.h"

#include <algorithm>

#include "../log.h"

namespace byocd {

namespace {

using namespace std::chrono_literals;

constexpr std::size_t most_receipts = 512;
constexpr auto hold_interval = 20ms;
// An outcome is recorded within milliseconds of its answer; an answer that is slower than this is as good as lost.
constexpr auto patience = 2s;
// Providers hang up after 15 seconds (Twilio:
// https://www.twilio.com/docs/usage/webhooks/webhooks-connection-overrides).
constexpr auto longest_hold = 10s;

}  // namespace

ReceiptRecorder::ReceiptRecorder(ReceiptGateway& gateway, Timers& timers)
    : gateway_(gateway),
      timers_(timers),
      flush_timer_(timers.make_timer([this] { flush(); })),
      held_timer_(timers.make_timer([this] { release(); })) {}

void ReceiptRecorder::add(Receipt receipt, Callback callback) {
  waiting_.push_back({std::move(receipt), std::move(callback), timers_.now()});
  // In the loop's next turn: what came in during this one goes together.
  if (sending_.empty() && !flush_timer_->pending()) flush_timer_->start(0us);
}

void ReceiptRecorder::flush() {
  if (!sending_.empty() || waiting_.empty()) return;
  const auto end = waiting_.begin() + static_cast<std::ptrdiff_t>(std::min(waiting_.size(), most_receipts));
  sending_.assign(std::make_move_iterator(waiting_.begin()), std::make_move_iterator(end));
  waiting_.erase(waiting_.begin(), end);
  std::vector<Receipt> receipts;
  for (auto& item : sending_) {
    item.receipt.settle = timers_.now() - item.since >= patience;
    receipts.push_back(item.receipt);
  }
  gateway_.record_receipts(receipts, [this](auto result) { on_recorded(std::move(result)); });
}

void ReceiptRecorder::on_recorded(Result<std::vector<std::size_t>, DbError> result) {
  if (!result && !result.error().connection_lost)
    log::error("recording {} receipts failed: {}", sending_.size(), result.error().text());
  auto sent = std::exchange(sending_, {});
  if (result) {
    for (const std::size_t index : *result)
      if (index < sent.size())
        hold({sent[index].receipt, std::exchange(sent[index].callback, nullptr), sent[index].since});
  }
  for (auto& item : sent)
    if (item.callback) item.callback(result.ok());
  if (!waiting_.empty()) flush_timer_->start(0us);
}

void ReceiptRecorder::hold(Item item) {
  // Whoever keeps the message locked for so long may be gone when the provider comes again.
  if (timers_.now() - item.since >= longest_hold) return item.callback ? item.callback(false) : void();
  held_.push_back(std::move(item));
  if (!held_timer_->pending()) held_timer_->start(hold_interval);
}

void ReceiptRecorder::release() {
  for (auto& item : std::exchange(held_, {})) waiting_.push_back(std::move(item));
  flush();
}

}  // namespace byocd
