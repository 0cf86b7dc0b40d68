#include "google_events.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "google_times.h"

namespace simulator {
namespace {

using nlohmann::json;

constexpr std::array known_members = {"summary",
                                      "description",
                                      "location",
                                      "start",
                                      "end",
                                      "recurrence",
                                      "attendees",
                                      "reminders",
                                      "extendedProperties",
                                      "transparency",
                                      "visibility",
                                      "colorId",
                                      "source",
                                      "guestsCanModify",
                                      "guestsCanInviteOthers",
                                      "guestsCanSeeOtherGuests"};

event_problem required(std::string message) {
  return {"required", std::move(message)};
}
event_problem invalid(std::string message) {
  return {"invalid", std::move(message)};
}

/// `start` or `end`: a whole day, or a time.
std::optional<event_problem> read_boundary(const json& document, const char* name, const std::string& zone,
                                           timestamp& into, bool& whole_day) {
  const auto found = document.find(name);
  if (found == document.end() || !found->is_object()) return required(fmt::format("Missing {} time.", name));
  const auto text_of = [&](const char* member) {
    const auto value = found->find(member);
    return value == found->end() || !value->is_string() ? std::string() : value->get<std::string>();
  };
  const auto date = text_of("date");
  const auto date_time = text_of("dateTime");
  const auto own_zone = text_of("timeZone");
  if (!own_zone.empty() && !is_time_zone(own_zone))
    return invalid(fmt::format("Invalid time zone definition for {} time.", name));
  if (date.empty() && date_time.empty()) return required(fmt::format("Missing {} time.", name));
  whole_day = !date.empty();
  const auto when = whole_day && date_time.empty() ? parse_day(date, zone) : parse_time(date_time, own_zone);
  if (!when || (whole_day && !date_time.empty())) return invalid(fmt::format("Invalid {} time.", name));
  into = *when;
  return std::nullopt;
}

std::optional<event_problem> check_attendees(const json& document) {
  const auto found = document.find("attendees");
  if (found == document.end() || found->is_null()) return std::nullopt;
  if (!found->is_array()) return invalid("Invalid value for: attendees");
  for (const auto& each : *found) {
    const auto email = each.is_object() ? each.value("email", json()) : json();
    if (!email.is_string()) return required("Missing attendee email.");
    const auto& text = email.get_ref<const std::string&>();
    const auto at = text.find('@');
    if (at == 0 || at == text.npos || at + 1 == text.size() || text.find_first_of(" \t\r\n") != text.npos)
      return invalid("Invalid attendee email.");
  }
  return std::nullopt;
}

std::optional<event_problem> check_recurrence(const json& document, bool whole_day) {
  constexpr std::array kinds = {"RRULE:FREQ=", "EXRULE:FREQ=", "RDATE", "EXDATE"};
  const auto found = document.find("recurrence");
  if (found == document.end() || found->is_null()) return std::nullopt;
  if (!found->is_array()) return invalid("Invalid value for: recurrence");
  for (const auto& each : *found) {
    const bool fits = each.is_string() && std::any_of(kinds.begin(), kinds.end(), [&](const char* kind) {
                        return each.get_ref<const std::string&>().starts_with(kind);
                      });
    if (!fits) return invalid("Invalid recurrence rule.");
  }
  for (const char* name : {"start", "end"})
    if (!whole_day && !document[name].contains("timeZone"))
      return required(fmt::format("Missing time zone definition for {} time.", name));
  return std::nullopt;
}

}  // namespace

bool google_event::is_busy() const {
  return !cancelled && fields.value("transparency", "opaque") != "transparent";
}

bool is_event_id(std::string_view id) {
  return id.size() >= 5 && id.size() <= 1024 &&
         std::all_of(id.begin(), id.end(), [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'v'); });
}

std::optional<event_problem> read_event(const json& document, const std::string& zone, google_event& into) {
  bool starts_with_day = false;
  bool ends_with_day = false;
  if (auto problem = read_boundary(document, "start", zone, into.start, starts_with_day)) return problem;
  if (auto problem = read_boundary(document, "end", zone, into.end, ends_with_day)) return problem;
  if (starts_with_day != ends_with_day)
    return invalid("Start and end times must either both be date or both be dateTime.");
  if (into.end < into.start || (starts_with_day && into.end == into.start))
    return event_problem{"timeRangeEmpty", "The specified time range is empty."};
  if (auto problem = check_attendees(document)) return problem;
  if (auto problem = check_recurrence(document, starts_with_day)) return problem;
  for (const char* name : {"summary", "description", "location"})
    if (const auto found = document.find(name); found != document.end() && !found->is_string() && !found->is_null())
      return invalid(fmt::format("Invalid value for: {}", name));
  into.fields = json::object();
  for (const char* name : known_members)
    if (const auto found = document.find(name); found != document.end() && !found->is_null())
      into.fields[name] = *found;
  return std::nullopt;
}

google_event* event_store::find(std::string_view calendar_id, std::string_view id) {
  const auto found = events_.find({std::string(calendar_id), std::string(id)});
  return found == events_.end() ? nullptr : &found->second;
}

google_event& event_store::add(google_event event) {
  event.index = order_.size();
  event.created = event.updated = now();
  auto& stored = events_[{event.calendar_id, event.id}];
  stored = std::move(event);
  order_.push_back(&stored);
  return stored;
}

std::vector<const google_event*> event_store::list(std::string_view calendar_id) const {
  std::vector<const google_event*> found;
  for (const auto* each : order_)
    if (calendar_id.empty() || each->calendar_id == calendar_id) found.push_back(each);
  return found;
}

void event_store::clear() {
  events_.clear();
  order_.clear();
}

}  // namespace simulator
