#include "google_calendar.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>

#include "form.h"
#include "google_errors.h"
#include "google_times.h"
#include "sid.h"

namespace simulator {
namespace {

using nlohmann::json;

constexpr std::string_view scope_prefix = "https://www.googleapis.com/auth/";
constexpr std::size_t default_page = 250;
constexpr std::size_t most_events_a_page = 2500;

answer document(const json& value, int status = 200) {
  answer result;
  result.status = status;
  result.body = value.dump();
  return result;
}

answer not_found() {
  return calendar_error(404, "notFound", "Not Found");
}

bool may(const google_access& caller, std::initializer_list<std::string_view> scopes) {
  return std::any_of(scopes.begin(), scopes.end(), [&](std::string_view scope) {
    return caller.scopes.contains(std::string(scope_prefix) + std::string(scope));
  });
}

bool may_read(const google_access& caller) {
  return may(caller, {"calendar", "calendar.readonly", "calendar.events", "calendar.events.readonly"});
}
bool may_write(const google_access& caller) {
  return may(caller, {"calendar", "calendar.events"});
}

answer insufficient_scopes() {
  return calendar_error(403, "insufficientPermissions", "Request had insufficient authentication scopes.");
}

bool is_writable(const google_calendar& calendar) {
  return calendar.role == "owner" || calendar.role == "writer";
}

answer no_writer() {
  return calendar_error(403, "requiredAccessLevel", "You need to have writer access to this calendar.");
}

/// The body, or the answer to one that is no JSON object.
std::optional<json> read_body(const request& asked) {
  if (!asked.content_type.starts_with("application/json")) return std::nullopt;
  auto body = json::parse(asked.body, nullptr, false);
  return body.is_object() ? std::optional(std::move(body)) : std::nullopt;
}

answer parse_error() {
  return calendar_error(400, "parseError", "Parse Error");
}

std::string etag_of(const google_event& event) {
  return fmt::format("\"{}\"", event.updated.time_since_epoch().count());
}

json free_busy_error(const char* reason) {
  const json error = {{"domain", "global"}, {"reason", reason}};
  return {{"errors", json::array({error})}, {"busy", json::array()}};
}

/// Busy times within the window, joined where they touch.
json busy_times(const std::vector<const google_event*>& events, timestamp from, timestamp until,
                const std::string& zone) {
  std::vector<std::pair<timestamp, timestamp>> spans;
  for (const auto* event : events)
    if (event->is_busy() && event->start < until && event->end > from)
      spans.emplace_back(std::max(event->start, from), std::min(event->end, until));
  std::sort(spans.begin(), spans.end());
  std::vector<std::pair<timestamp, timestamp>> joined;
  for (const auto& span : spans) {
    if (!joined.empty() && span.first <= joined.back().second)
      joined.back().second = std::max(joined.back().second, span.second);
    else
      joined.push_back(span);
  }
  auto result = json::array();
  for (const auto& [start, end] : joined)
    result.push_back({{"start", rfc3339(start, zone)}, {"end", rfc3339(end, zone)}});
  return result;
}

/// A parameter that is a time; nothing and `bad` set when it cannot be read.
std::optional<timestamp> time_parameter(const form& query, std::string_view name, bool& bad) {
  const auto* text = query.find(name);
  if (text == nullptr) return std::nullopt;
  const auto when = parse_time(*text, "");
  bad = bad || !when;
  return when;
}

std::string decoded_segment(std::string_view segment) {
  // A form's decoding but for `+`, which stands for itself in a path.
  std::string escaped;
  for (const char c : segment) escaped += c == '+' ? std::string("%2B") : std::string(1, c);
  const auto parsed = form::parse("s=" + escaped);
  return std::string(parsed.get("s"));
}

}  // namespace

json event_resource(const google_event& event, const std::string& organizer) {
  json result = event.fields;
  result["kind"] = "calendar#event";
  result["etag"] = etag_of(event);
  result["id"] = event.id;
  result["status"] = event.cancelled ? "cancelled" : "confirmed";
  result["htmlLink"] = "https://www.google.com/calendar/event?eid=" + derived_sid("", event.calendar_id + event.id);
  result["created"] = rfc3339(event.created, "");
  result["updated"] = rfc3339(event.updated, "");
  result["creator"] = {{"email", organizer}, {"self", true}};
  result["organizer"] = {{"email", event.calendar_id}, {"self", true}};
  result["iCalUID"] = event.id + "@google.com";
  result["sequence"] = event.sequence;
  result["eventType"] = "default";
  if (!result.contains("reminders")) result["reminders"] = {{"useDefault", true}};
  if (auto attendees = result.find("attendees"); attendees != result.end())
    for (auto& each : *attendees)
      if (!each.contains("responseStatus")) each["responseStatus"] = "needsAction";
  return result;
}

answer google_calendar_api::handle(const request& asked) {
  std::string operation = "unknown";
  auto result = route(asked, operation);
  ++counts[fmt::format("{} {}", operation, result.status)];
  return result;
}

answer google_calendar_api::route(const request& asked, std::string& operation) {
  const auto caller = identity_.authenticate(asked.authorization);
  if (!caller) return calendar_error(401, "authError", "Invalid Credentials");
  std::vector<std::string> parts;
  for (auto rest = asked.path.substr(google_calendar_path.size()); !rest.empty();) {
    const auto end = std::min(rest.find('/'), rest.size());
    parts.push_back(decoded_segment(rest.substr(0, end)));
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  if (parts.size() == 1 && parts[0] == "freeBusy" && asked.method == "POST") {
    operation = "freeBusy";
    return free_busy(asked, *caller);
  }
  if (parts.size() < 2 || parts.size() > 4 || parts[0] != "calendars" || (parts.size() > 2 && parts[2] != "events"))
    return not_found();
  const auto* calendar = caller->user->find_calendar(parts[1]);
  if (parts.size() == 2) {
    operation = "calendar";
    if (!may(*caller, {"calendar", "calendar.readonly", "calendar.calendars", "calendar.calendars.readonly"}))
      return insufficient_scopes();
    if (calendar == nullptr) return not_found();
    return document({{"kind", "calendar#calendar"},
                     {"id", calendar->id},
                     {"summary", calendar->summary},
                     {"timeZone", calendar->time_zone}});
  }
  const bool reads = asked.method == "GET";
  operation = asked.method == "POST"     ? "insert"
              : asked.method == "PUT"    ? "update"
              : asked.method == "PATCH"  ? "patch"
              : asked.method == "DELETE" ? "delete"
              : parts.size() == 3        ? "list"
                                         : "get";
  if (!(reads ? may_read(*caller) : may_write(*caller))) return insufficient_scopes();
  if (calendar == nullptr) return not_found();
  if (!reads && !is_writable(*calendar)) return no_writer();
  const call made{asked, *caller, *calendar};
  if (parts.size() == 3) {
    if (reads) return list(made);
    return asked.method == "POST" ? insert(made) : not_found();
  }
  if (reads) return get(made, parts[3]);
  if (asked.method == "DELETE") return remove(made, parts[3]);
  return asked.method == "POST" ? not_found() : change(made, parts[3], asked.method == "PATCH");
}

answer google_calendar_api::free_busy(const request& asked, const google_access& caller) {
  if (!may(caller, {"calendar", "calendar.readonly", "calendar.freebusy", "calendar.events.freebusy"}))
    return insufficient_scopes();
  const auto body = read_body(asked);
  if (!body) return parse_error();
  const auto text_of = [&](const char* name) { return body->value(name, json()); };
  const auto zone = text_of("timeZone").is_string() ? text_of("timeZone").get<std::string>() : std::string("UTC");
  if (!is_time_zone(zone)) return calendar_error(400, "invalid", "Invalid time zone.");
  std::optional<timestamp> window[2];
  for (const auto at : {0, 1}) {
    const auto value = text_of(at == 0 ? "timeMin" : "timeMax");
    if (value.is_null())
      return calendar_error(400, "required", at == 0 ? "Missing timeMin parameter." : "Missing timeMax parameter.");
    window[at] = value.is_string() ? parse_time(value.get<std::string>(), "") : std::nullopt;
    if (!window[at]) return calendar_error(400, "badRequest", "Bad Request");
  }
  if (*window[1] <= *window[0]) return calendar_error(400, "timeRangeEmpty", "The specified time range is empty.");
  auto calendars = json::object();
  const auto items = body->value("items", json::array());
  for (const auto& item : items.is_array() ? items : json::array()) {
    const auto id = item.is_object() ? item.value("id", json()) : json();
    if (!id.is_string()) return calendar_error(400, "required", "Required");
    const auto& name = id.get_ref<const std::string&>();
    const auto* calendar = caller.user->find_calendar(name);
    calendars[name] = calendar == nullptr
                          ? free_busy_error("notFound")
                          : json{{"busy", busy_times(events_.list(calendar->id), *window[0], *window[1], zone)}};
  }
  return document({{"kind", "calendar#freeBusy"},
                   {"timeMin", rfc3339(*window[0], zone)},
                   {"timeMax", rfc3339(*window[1], zone)},
                   {"calendars", calendars}});
}

answer google_calendar_api::insert(const call& made) {
  const auto body = read_body(made.asked);
  if (!body) return parse_error();
  google_event event;
  event.calendar_id = made.calendar.id;
  const auto id = body->value("id", json());
  if (id.is_null())
    event.id = derived_sid("", fmt::format("event {}", events_.size()));
  else if (id.is_string() && is_event_id(id.get_ref<const std::string&>()))
    event.id = id.get<std::string>();
  else
    return calendar_error(400, "invalid", "Invalid resource id value.");
  if (const auto problem = read_event(*body, made.calendar.time_zone, event))
    return calendar_error(400, problem->reason, problem->message);
  // A cancelled event keeps its id.
  if (events_.find(event.calendar_id, event.id) != nullptr)
    return calendar_error(409, "duplicate", "The requested identifier already exists.");
  return document(event_resource(events_.add(std::move(event)), made.caller.user->email));
}

answer google_calendar_api::list(const call& made) {
  const auto query = form::parse(made.asked.query);
  bool bad = false;
  const auto from = time_parameter(query, "timeMin", bad);
  const auto until = time_parameter(query, "timeMax", bad);
  std::size_t page_size = default_page;
  std::size_t start = 0;
  for (const auto& [name, into] : {std::pair("maxResults", &page_size), std::pair("pageToken", &start)}) {
    const auto* text = query.find(name);
    if (text == nullptr) continue;
    bad = bad || std::from_chars(text->data(), text->data() + text->size(), *into).ec != std::errc{};
  }
  if (bad || page_size == 0) return calendar_error(400, "badRequest", "Bad Request");
  page_size = std::min(page_size, most_events_a_page);
  json result = {{"kind", "calendar#events"},           {"summary", made.calendar.summary},
                 {"timeZone", made.calendar.time_zone}, {"accessRole", made.calendar.role},
                 {"defaultReminders", json::array()},   {"items", json::array()}};
  auto found = events_.list(made.calendar.id);
  std::erase_if(found, [&](const google_event* each) {
    return (each->cancelled && query.get("showDeleted") != "true") || (from && each->end <= *from) ||
           (until && each->start >= *until);
  });
  for (auto at = start; at < found.size() && at < start + page_size; ++at)
    result["items"].push_back(event_resource(*found[at], made.caller.user->email));
  if (found.size() > start + page_size) result["nextPageToken"] = std::to_string(start + page_size);
  return document(result);
}

answer google_calendar_api::get(const call& made, const std::string& id) {
  const auto* event = events_.find(made.calendar.id, id);
  return event == nullptr ? not_found() : document(event_resource(*event, made.caller.user->email));
}

answer google_calendar_api::change(const call& made, const std::string& id, bool merge) {
  const auto body = read_body(made.asked);
  if (!body) return parse_error();
  auto* event = events_.find(made.calendar.id, id);
  if (event == nullptr) return not_found();
  auto wanted = *body;
  if (merge) {
    wanted = event->fields;
    wanted.merge_patch(*body);
  }
  auto draft = *event;
  if (const auto problem = read_event(wanted, made.calendar.time_zone, draft))
    return calendar_error(400, problem->reason, problem->message);
  const auto status = body->value("status", json());
  if (status.is_string()) draft.cancelled = status == "cancelled";
  draft.updated = now();
  ++draft.sequence;
  *event = std::move(draft);
  return document(event_resource(*event, made.caller.user->email));
}

answer google_calendar_api::remove(const call& made, const std::string& id) {
  auto* event = events_.find(made.calendar.id, id);
  if (event == nullptr) return not_found();
  if (event->cancelled) return calendar_error(410, "deleted", "Resource has been deleted");
  event->cancelled = true;
  event->updated = now();
  ++event->sequence;
  answer gone;
  gone.status = 204;
  return gone;
}

}  // namespace simulator
