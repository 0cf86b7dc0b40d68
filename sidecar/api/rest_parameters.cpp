#include "rest_parameters.h"

#include <algorithm>
#include <cctype>
#include <initializer_list>
#include <nlohmann/json.hpp>

#include "../providers/form.h"
#include "../uuid.h"
#include "refusal.h"

namespace byocd {

namespace {

constexpr char key_header[] = "idempotency-key";
constexpr char match_header[] = "if-match";

std::optional<std::string> header_value(const ApiRequest& request, const std::string& name) {
  const auto found = request.headers.find(name);
  if (found == request.headers.end()) return std::nullopt;
  return found->second;
}

// The first value of each of these parameters.
Parameters query_values(const ApiRequest& request, std::initializer_list<std::string_view> names) {
  Params values(names.size());
  for (auto& [name, value] : parse_form(request.query)) {
    const auto place = std::find(names.begin(), names.end(), name) - names.begin();
    if (place == static_cast<std::ptrdiff_t>(names.size()) || values[place]) continue;
    // libpq would end it there.
    if (value.find('\0') != value.npos) return fail(field_problem(name, "It holds a zero byte."));
    values[place] = std::move(value);
  }
  return values;
}

ApiAnswer unknown_id() {
  return problem_answer(404, "Not Found", "There is nothing of this id.");
}

}  // namespace

std::string media_type(const ApiRequest& request) {
  std::string type = request.header("content-type");
  type = type.substr(0, type.find(';'));
  while (!type.empty() && type.back() == ' ') type.pop_back();
  std::transform(type.begin(), type.end(), type.begin(), [](unsigned char c) { return std::tolower(c); });
  return type;
}

std::optional<ApiAnswer> json_problem(const ApiRequest& request) {
  const std::string type = media_type(request);
  if (type != "application/json" && !(request.method == "PATCH" && type == "application/merge-patch+json"))
    return problem_answer(415, "Unsupported Media Type", "The body must be JSON: Content-Type: application/json.");
  if (!nlohmann::json::accept(request.body))
    return problem_answer(400, "Bad Request", "The body is not well-formed JSON.");
  return std::nullopt;
}

Parameters no_parameters(const ApiRequest&) {
  return Params{};
}

Parameters page_parameters(const ApiRequest& request) {
  return query_values(request, {"limit", "after"});
}

Parameters message_page_parameters(const ApiRequest& request) {
  return query_values(request, {"status", "search", "limit", "after"});
}

Parameters statistics_parameters(const ApiRequest& request) {
  return query_values(request, {"hours"});
}

Parameters availability_parameters(const ApiRequest& request) {
  return query_values(request, {"date", "duration"});
}

Parameters id_parameters(const ApiRequest& request) {
  if (!is_uuid(request.parameter)) return fail(unknown_id());
  return Params{request.parameter};
}

Parameters id_page_parameters(const ApiRequest& request) {
  if (!is_uuid(request.parameter)) return fail(unknown_id());
  Parameters values = page_parameters(request);
  if (values) values->insert(values->begin(), request.parameter);
  return values;
}

Parameters body_parameters(const ApiRequest& request) {
  if (auto problem = json_problem(request)) return fail(std::move(*problem));
  return Params{request.body, header_value(request, key_header)};
}

Parameters change_parameters(const ApiRequest& request) {
  if (!is_uuid(request.parameter)) return fail(unknown_id());
  if (auto problem = json_problem(request)) return fail(std::move(*problem));
  auto match = header_value(request, match_header);
  if (!match)
    return fail(
        problem_answer(428, "Precondition Required", "The header If-Match must name the ETag that is changed."));
  return Params{request.parameter, request.body, std::move(match)};
}

Parameters revoke_parameters(const ApiRequest& request) {
  if (!is_uuid(request.parameter)) return fail(unknown_id());
  return Params{request.parameter, header_value(request, match_header)};
}

Parameters verify_parameters(const ApiRequest& request) {
  if (!is_uuid(request.parameter)) return fail(unknown_id());
  return Params{request.parameter, header_value(request, key_header)};
}

std::string next_link(const ApiRequest& request, std::string_view cursor) {
  std::string query;
  for (const auto& [name, value] : parse_form(request.query))
    if (name != "after") append_field(query, name, value);
  append_field(query, "after", cursor);
  return "<?" + query + ">; rel=\"next\"";
}

}  // namespace byocd
