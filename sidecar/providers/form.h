// application/x-www-form-urlencoded, written.
#pragma once

#include <string>
#include <string_view>

namespace byocd {

/// Percent-encodes everything but RFC 3986's unreserved characters: right in a path segment, a query and a form.
std::string percent_encoded(std::string_view text);

/// Appends `name=value`, with `&` before it when the form is not empty.
void append_field(std::string& form, std::string_view name, std::string_view value);

}  // namespace byocd
