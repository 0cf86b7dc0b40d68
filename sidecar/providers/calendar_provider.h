// A provider that keeps a calendar.
#pragma once

#include "call_provider.h"

namespace byocd {

class CalendarProvider : public CallProvider {
 public:
  /// Asks when the calendar is busy between two RFC 3339 times.
  virtual HttpRequest prepare_busy(const CredentialFields& credential, const std::string& from,
                                   const std::string& to) const = 0;
  /// A JSON array of {"start", "end"}, RFC 3339 times; or why it is not known.
  virtual Result<std::string, Problem> interpret_busy(const CredentialFields& credential,
                                                      const HttpResult& result) const = 0;
};

}  // namespace byocd
