/// The control API's part for Google, under `/_simulator/google`. README.md describes it.
#pragma once

#include <string_view>

#include "google_calendar.h"
#include "google_events.h"
#include "google_identity.h"
#include "http.h"

namespace simulator {

class google_control {
 public:
  google_control(google_identity& identity, event_store& events, google_calendar_api& calendar)
      : identity_(identity), events_(events), calendar_(calendar) {}

  /// `topic` is what follows `/_simulator/google/`. Throws input_error.
  answer handle(const request& asked, std::string_view topic);

 private:
  answer clients(const request& asked);
  answer users(const request& asked);
  answer grants(const request& asked);
  answer events(const request& asked);
  answer settings(const request& asked);

  google_identity& identity_;
  event_store& events_;
  google_calendar_api& calendar_;
};

}  // namespace simulator
