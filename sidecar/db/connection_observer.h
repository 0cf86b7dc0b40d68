// Who wants to know how connections fare.
#pragma once

#include <chrono>
#include <string>

namespace byocd {

class ConnectionObserver {
 public:
  virtual ~ConnectionObserver() = default;

  /// `connection` is ready for work, or is not any more.
  virtual void on_connected(const std::string& connection) = 0;
  virtual void on_lost(const std::string& connection) = 0;
  /// A call was answered, or failed. `statement` is one of a few names.
  virtual void on_call(const char* statement, std::chrono::duration<double> duration, bool ok) = 0;
};

}  // namespace byocd
