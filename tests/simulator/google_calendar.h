/// Google's Calendar API, version 3 (https://developers.google.com/workspace/calendar/api/v3/reference): calendars,
/// events, freeBusy.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>

#include "google_events.h"
#include "google_identity.h"
#include "http.h"

namespace simulator {

inline constexpr std::string_view google_calendar_path = "/calendar/v3/";

class google_calendar_api {
 public:
  google_calendar_api(const google_identity& identity, event_store& events) : identity_(identity), events_(events) {}

  answer handle(const request& asked);

  /// How often each operation was asked for and how it was answered: `insert 200`, `insert 409`, ...
  std::map<std::string, std::uint64_t> counts;

 private:
  /// One request on one calendar of the token's user.
  struct call {
    const request& asked;
    const google_access& caller;
    const google_calendar& calendar;
  };

  answer route(const request& asked, std::string& operation);
  answer free_busy(const request& asked, const google_access& caller);
  answer insert(const call& made);
  answer list(const call& made);
  answer get(const call& made, const std::string& id);
  /// PUT replaces what clients set, PATCH merges it.
  answer change(const call& made, const std::string& id, bool merge);
  answer remove(const call& made, const std::string& id);

  const google_identity& identity_;
  event_store& events_;
};

/// An Event resource as `caller` sees it.
nlohmann::json event_resource(const google_event& event, const std::string& organizer);

}  // namespace simulator
