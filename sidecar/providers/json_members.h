// Members of a provider's JSON objects, which may be absent, null or of another type.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>

namespace byocd {

/// Nothing when the member is absent, no text or empty.
std::optional<std::string> text_member(const nlohmann::json& document, const char* name);

/// Nothing when the member is absent or no whole number. Twilio gives some numbers as text.
std::optional<int> number_member(const nlohmann::json& document, const char* name);

}  // namespace byocd
