#include "receipt_addresses.h"

#include <cstring>
#include <utility>

#include "../log.h"
#include "../uuid.h"
#include "crypto/receipt_token.h"

namespace byocd {

namespace {

using namespace std::chrono_literals;

constexpr auto fetch_interval = 5min;
// Messages are rather sent without an address than not at all; their status is asked for then.
constexpr auto longest_wait_for_addresses = 5s;

// Twilio's own settings for a callback stand in the fragment, which is neither sent nor signed: five more tries when we
// answer 5xx or cannot be reached (https://www.twilio.com/docs/usage/webhooks/webhooks-connection-overrides).
constexpr const char* connection_override = "#rc=5&rp=5xx,ct,rt";

}  // namespace

ReceiptAddresses::ReceiptAddresses(ReceiptGateway& gateway, Timers& timers, std::string public_url,
                                   std::function<void()> on_settled)
    : gateway_(gateway),
      public_url_(std::move(public_url)),
      on_settled_(std::move(on_settled)),
      fetch_timer_(timers.make_timer([this] { fetch_key(); })),
      settle_timer_(timers.make_timer([this] { settle(); })),
      settled_(public_url_.empty()) {
  if (!settled_) settle_timer_->start(longest_wait_for_addresses);
}

void ReceiptAddresses::settle() {
  settle_timer_->stop();
  if (std::exchange(settled_, true)) return;
  on_settled_();
}

void ReceiptAddresses::connection_changed() {
  if (public_url_.empty()) return;
  if (gateway_.ready())
    fetch_key();
  else
    fetch_timer_->stop();
}

void ReceiptAddresses::fetch_key() {
  fetch_timer_->start(fetch_interval);
  gateway_.receipt_key([this](Result<SecretString, DbError> result) {
    if (result) {
      key_ = std::move(*result);
    } else if (result.error().connection_lost) {
      return;
    } else {
      log::error("the key for receipts cannot be had, so Twilio is not asked to call back: {}", result.error().text());
    }
    settle();
  });
}

std::optional<std::string> ReceiptAddresses::address_for(const ClaimedJob& job) const {
  byoc::ReceiptSubject subject;
  if (key_.reveal().size() != byoc::receipt_key_size || !uuid_bytes(job.org_id, subject.organization) ||
      !uuid_bytes(job.id, subject.message))
    return std::nullopt;
  subject.attempt = static_cast<std::uint16_t>(job.attempt);
  std::uint8_t key[byoc::receipt_key_size];
  std::memcpy(key, key_.reveal().data(), sizeof key);
  char token[byoc::receipt_token_capacity];
  const bool good = byoc::mint_receipt_token(key, subject, token);
  OPENSSL_cleanse(key, sizeof key);
  if (!good) return std::nullopt;
  return public_url_ + "/webhooks/" + job.provider + "/status/" + token + connection_override;
}

}  // namespace byocd
