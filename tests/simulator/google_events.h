/// The events of all calendars, and what makes one.
#pragma once

#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "dates.h"

namespace simulator {

/// What is wrong with an event: the fields of the error answer, whose status is 400.
struct event_problem {
  std::string reason;
  std::string message;
};

struct google_event {
  std::uint64_t index = 0;  // by creation, over all calendars
  std::string calendar_id;
  std::string id;
  nlohmann::json fields;  // what clients set
  timestamp start;
  timestamp end;
  timestamp created;
  timestamp updated;
  int sequence = 0;  // how often it was changed
  bool cancelled = false;

  bool is_busy() const;
};

/// Reads the members that an event has; unknown ones are dropped, as Google does. `zone` is the calendar's.
/// Fills start and end.
std::optional<event_problem> read_event(const nlohmann::json& document, const std::string& zone, google_event& into);

/// Whether `id` is made of 5 to 1024 characters of base32hex (RFC 2938, section 3.1.2).
bool is_event_id(std::string_view id);

class event_store {
 public:
  /// Null when there is none; a cancelled one is there.
  google_event* find(std::string_view calendar_id, std::string_view id);
  /// The id must be free.
  google_event& add(google_event event);
  /// In the order of creation; of one calendar, or of all when the id is empty.
  std::vector<const google_event*> list(std::string_view calendar_id) const;
  std::size_t size() const { return order_.size(); }
  void clear();

 private:
  std::map<std::pair<std::string, std::string>, google_event> events_;
  std::vector<const google_event*> order_;
};

}  // namespace simulator
