// Writes receipts to the database, in batches.
#pragma once

#include <chrono>
#include <deque>
#include <functional>
#include <memory>
#include <vector>

#include "../db/receipt_gateway.h"
#include "../timers.h"

namespace byocd {

/// Flushes at once while no batch is on its way, and groups what comes in meanwhile. A receipt that overtook its own
/// attempt's outcome is held back for a moment, so that the outcome is recorded first; after two seconds the outcome is
/// taken for lost, and the receipt settles the message.
class ReceiptRecorder {
 public:
  /// `recorded` is false when the database did not take it: the provider should come again.
  using Callback = std::function<void(bool recorded)>;

  ReceiptRecorder(ReceiptGateway& gateway, Timers& timers);

  void add(Receipt receipt, Callback callback);

  /// Receipts not recorded yet.
  std::size_t unrecorded() const { return waiting_.size() + sending_.size() + held_.size(); }

 private:
  struct Item {
    Receipt receipt;
    Callback callback;
    Clock::time_point since;
  };

  void flush();
  void on_recorded(Result<std::vector<std::size_t>, DbError> result);
  void hold(Item item);
  void release();

  ReceiptGateway& gateway_;
  Timers& timers_;
  std::unique_ptr<Timer> flush_timer_;
  std::unique_ptr<Timer> held_timer_;
  std::deque<Item> waiting_;
  std::vector<Item> sending_;
  std::vector<Item> held_;
};

}  // namespace byocd
