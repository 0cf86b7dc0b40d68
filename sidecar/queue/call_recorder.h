// Writes outcomes of calls to the database.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "../db/gateway.h"
#include "../timers.h"

namespace byocd {

/// One batch at a time, kept until the database has it. What the database refuses is tried alone, and then dropped: a
/// call without an outcome is made again after its lease, which does no harm.
class CallRecorder {
 public:
  /// `on_recorded`: there may be room for more calls.
  CallRecorder(Gateway& gateway, Timers& timers, std::function<void()> on_recorded);

  void add(CallRecord record);
  /// The connection became ready or was lost.
  void connection_changed();
  std::size_t unrecorded() const { return waiting_.size() + sending_.size(); }

 private:
  void flush();
  void on_answer(const Result<int, DbError>& result);

  Gateway& gateway_;
  std::function<void()> on_recorded_;
  std::unique_ptr<Timer> timer_;
  std::vector<CallRecord> waiting_;
  std::vector<CallRecord> sending_;
  bool one_by_one_ = false;
};

}  // namespace byocd
