// The queue as `byocd check` uses it. An interface, so that tests need no database.
#pragma once

#include <optional>
#include <string>

#include "../providers/problem.h"
#include "../result.h"

namespace byocd {

/// A message as the queue shows it.
struct QueuedMessage {
  std::string status;
  std::string provider_sid;
  std::string error_code;
  std::string error_message;
};

/// The queue of an organization, which a running byocd sends from.
class CheckQueue {
 public:
  virtual ~CheckQueue() = default;
  /// Answers the message's id.
  virtual Result<std::string, Problem> send(const std::string& recipient, const std::string& body) = 0;
  virtual Result<QueuedMessage, Problem> look(const std::string& id) = 0;
  /// Why nothing that is queued goes out, as far as is known before trying.
  virtual std::optional<Problem> obstacle() = 0;
  /// Why a message may still wait.
  virtual Problem delay() const = 0;
};

}  // namespace byocd
