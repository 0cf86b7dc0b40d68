// application/x-www-form-urlencoded, written and read.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace byocd {

/// Percent-encodes everything but RFC 3986's unreserved characters: right in a path segment, a query and a form.
std::string percent_encoded(std::string_view text);

/// Appends `name=value`, with `&` before it when the form is not empty.
void append_field(std::string& form, std::string_view name, std::string_view value);

/// Names and values in their order, decoded. What is no valid escape stays as it is.
std::vector<std::pair<std::string, std::string>> parse_form(std::string_view form);

}  // namespace byocd
