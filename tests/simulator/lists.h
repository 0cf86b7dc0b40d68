/// What reading messages back shows and hides (`PUT /_simulator/lists`).
#pragma once

#include <chrono>

namespace simulator {

struct list_settings {
  std::chrono::milliseconds delay{0};     // a list shows a message only so long after its creation
  bool redact_bodies = false;             // lists and single messages show an empty body, as with message redaction
  bool date_filters_skip_unsent = false;  // a DateSent filter hides messages that have no date_sent yet
};

}  // namespace simulator
