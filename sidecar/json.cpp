#include "json.h"

#include <nlohmann/json.hpp>

namespace byocd {

using nlohmann::json;
using nlohmann::ordered_json;

json parse_json(std::string_view text) {
  return json::parse(text, nullptr, false);
}

ordered_json parse_ordered_json(std::string_view text) {
  return ordered_json::parse(text, nullptr, false);
}

std::string dump_json(const json& value) {
  return value.dump(-1, ' ', false, json::error_handler_t::replace);
}

std::string dump_json(const ordered_json& value, int indent) {
  return value.dump(indent, ' ', false, ordered_json::error_handler_t::replace);
}

}  // namespace byocd
