// The contract between this program and the database: SQL functions, versioned by byoc.api_version().
#pragma once

#include <optional>
#include <string>

#include "rows.h"

namespace byocd {

/// The version of the SQL functions that this program speaks.
constexpr int supported_api_version = 1;

/// Answers the oldest and the newest version that the database keeps.
constexpr const char* api_versions_query = "SELECT byoc.oldest_api_version(), byoc.api_version()";

/// What stands against working with a database that answered so; nothing when it keeps our version.
std::optional<std::string> find_version_problem(const Rows& answer);

}  // namespace byocd
