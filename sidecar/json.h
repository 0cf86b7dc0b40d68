// Reads and writes JSON. Each file that calls nlohmann's own parser or serializer takes seconds longer to compile.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

namespace byocd {

/// A discarded value when the text is not JSON.
nlohmann::json parse_json(std::string_view text);
nlohmann::ordered_json parse_ordered_json(std::string_view text);

/// On one line, or indented by so many spaces. What is not UTF-8 becomes U+FFFD.
std::string dump_json(const nlohmann::json& value);
std::string dump_json(const nlohmann::ordered_json& value, int indent = -1);

}  // namespace byocd
