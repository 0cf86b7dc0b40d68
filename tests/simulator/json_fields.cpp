#include "json_fields.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

namespace simulator {

nlohmann::json parse_json(std::string_view body) {
  auto result = nlohmann::json::parse(body, nullptr, false);
  if (result.is_discarded()) throw input_error("the body is not JSON");
  return result;
}

json_fields::json_fields(const nlohmann::json& object, std::string where) : object_(object), where_(std::move(where)) {
  if (!object.is_object())
    throw input_error(fmt::format("{} must be an object", where_.empty() ? "the body" : "field " + where_));
}

std::string json_fields::path(std::string_view name) const {
  return where_.empty() ? std::string(name) : fmt::format("{}.{}", where_, name);
}

void json_fields::complain(std::string_view name, std::string_view must) const {
  throw input_error(fmt::format("field {} must {}", path(name), must));
}

const nlohmann::json* json_fields::take(const char* name) {
  asked_.insert(name);
  const auto at = object_.find(name);
  return at == object_.end() ? nullptr : &*at;
}

std::optional<std::string> json_fields::string(const char* name) {
  const auto* value = take(name);
  if (value == nullptr) return std::nullopt;
  if (!value->is_string()) complain(name, "be a string");
  return value->get<std::string>();
}

std::string json_fields::required_string(const char* name) {
  auto value = string(name);
  if (!value || value->empty()) complain(name, "be given and not be empty");
  return *value;
}

std::optional<bool> json_fields::boolean(const char* name) {
  const auto* value = take(name);
  if (value == nullptr) return std::nullopt;
  if (!value->is_boolean()) complain(name, "be true or false");
  return value->get<bool>();
}

std::optional<std::uint64_t> json_fields::whole64(const char* name) {
  const auto* value = take(name);
  if (value == nullptr) return std::nullopt;
  if (!value->is_number_unsigned()) complain(name, "be a whole number, 0 or more");
  return value->get<std::uint64_t>();
}

std::optional<std::uint32_t> json_fields::whole(const char* name, std::uint32_t largest) {
  const auto value = whole64(name);
  if (!value) return std::nullopt;
  if (*value > largest) complain(name, fmt::format("be at most {}", largest));
  return static_cast<std::uint32_t>(*value);
}

std::optional<double> json_fields::probability(const char* name) {
  const auto* value = take(name);
  if (value == nullptr) return std::nullopt;
  if (!value->is_number() || value->get<double>() < 0 || value->get<double>() > 1)
    complain(name, "be a number from 0 to 1");
  return value->get<double>();
}

std::optional<std::string> json_fields::choice(const char* name, const std::vector<std::string_view>& choices) {
  auto value = string(name);
  if (value && std::find(choices.begin(), choices.end(), *value) == choices.end()) {
    complain(name, fmt::format("be one of {}", fmt::join(choices, ", ")));
  }
  return value;
}

bool json_fields::is_null(const char* name) {
  const auto* value = take(name);
  return value != nullptr && value->is_null();
}

std::vector<std::string> json_fields::strings(const char* name) {
  const auto* value = take(name);
  if (value == nullptr) return {};
  const bool fits =
      value->is_array() && std::all_of(value->begin(), value->end(), [](const auto& each) { return each.is_string(); });
  if (!fits) complain(name, "be an array of strings");
  return value->get<std::vector<std::string>>();
}

bool json_fields::objects(const char* name, const std::function<void(json_fields)>& each) {
  const auto* value = take(name);
  if (value == nullptr) return false;
  if (!value->is_array()) complain(name, "be an array");
  for (std::size_t i = 0; i < value->size(); ++i) each(json_fields((*value)[i], fmt::format("{}[{}]", path(name), i)));
  return true;
}

bool json_fields::object(const char* name, const std::function<void(json_fields)>& inner) {
  const auto* value = take(name);
  if (value == nullptr) return false;
  inner(json_fields(*value, path(name)));
  return true;
}

void json_fields::dictionary(const char* name, const std::function<void(const std::string&, json_fields)>& each) {
  const auto* value = take(name);
  if (value == nullptr) return;
  if (!value->is_object()) complain(name, "be an object");
  for (const auto& [key, element] : value->items())
    each(key, json_fields(element, fmt::format("{}.{}", path(name), key)));
}

void json_fields::finish() const {
  for (const auto& [name, value] : object_.items()) {
    if (!asked_.contains(name)) throw input_error(fmt::format("field {} is not known here", path(name)));
  }
}

}  // namespace simulator
