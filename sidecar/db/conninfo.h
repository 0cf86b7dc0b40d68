// Looks into a libpq connection string before it is used.
#pragma once

#include <string>

#include "../result.h"

namespace byocd {

/// Whether the connection string or URI carries a password; the error is libpq's reason why it cannot be parsed.
Result<bool, std::string> conninfo_has_password(const std::string& conninfo);

}  // namespace byocd
