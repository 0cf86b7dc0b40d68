// jansson behind two rules that RFC 7515 (section 5.2) and RFC 7517 leave to the reader: the text is one JSON object,
// and no member is written twice.
#pragma once

#include <jansson.h>

#include <cstring>
#include <memory>
#include <string_view>

namespace byoc {

struct JsonRelease {
  void operator()(json_t* value) const noexcept { json_decref(value); }
};
using JsonObject = std::unique_ptr<json_t, JsonRelease>;

// The object that `text` is; null when it is anything else, or not UTF-8.
inline JsonObject parse_json_object(std::string_view text) noexcept {
  JsonObject value(json_loadb(text.data(), text.size(), JSON_REJECT_DUPLICATES, nullptr));
  return json_is_object(value.get()) ? std::move(value) : nullptr;
}

// A member that is text. `present` tells a missing member from one of another type; the view lives as long as `object`.
inline std::string_view json_text(const json_t* object, const char* name, bool& present) noexcept {
  const json_t* value = json_object_get(object, name);
  present = value != nullptr;
  if (!json_is_string(value)) return {};
  return {json_string_value(value), json_string_length(value)};
}

}  // namespace byoc
