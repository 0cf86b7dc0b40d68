// Where a provider calls back about a message.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "../db/job.h"
#include "../db/receipt_gateway.h"
#include "../timers.h"

namespace byocd {

/// Makes addresses with a signed token (extension/crypto/receipt_token.h), without a query for each: the database hands
/// out the key at each connect and every five minutes, so that a new master key takes effect before the old one is
/// gone.
class ReceiptAddresses {
 public:
  /// `public_url` empty: nobody can call back, there are no addresses. `on_settled` is called when settled() turned
  /// true.
  ReceiptAddresses(ReceiptGateway& gateway, Timers& timers, std::string public_url, std::function<void()> on_settled);

  /// The connection became ready or was lost.
  void connection_changed();

  /// Whether it is known by now if there are addresses: messages wait that long, but not for ever.
  bool settled() const { return settled_; }

  /// The address for this attempt; nothing without public URL or key.
  std::optional<std::string> address_for(const ClaimedJob& job) const;

 private:
  void fetch_key();
  void settle();

  ReceiptGateway& gateway_;
  std::string public_url_;
  std::function<void()> on_settled_;
  std::unique_ptr<Timer> fetch_timer_;
  std::unique_ptr<Timer> settle_timer_;
  SecretString key_;
  bool settled_;
};

}  // namespace byocd
