/// What `GET /_simulator/messages` answers.
#pragma once

#include <cstddef>
#include <limits>
#include <string>

#include "messages.h"

namespace simulator {

/// Empty text matches all.
struct log_filter {
  std::string account_sid;
  std::string to;
  std::size_t since = 0;  // index of the first message looked at, counted from the last reset
  std::size_t limit = std::numeric_limits<std::size_t>::max();  // messages in the answer
};

/// A JSON array of the messages in the order they were accepted, as they stand at `when`.
std::string message_log(const message_store& store, const log_filter& filter, timestamp when);

}  // namespace simulator
