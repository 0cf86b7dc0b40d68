// The state of the database as metrics: what every byocd shows alike.
#pragma once

#include <optional>

#include "../db/monitor_gateway.h"
#include "exposition.h"

namespace byocd {

/// Writes every metric's name, also when there is nothing to say: no database answered.
void write_queue_figures(Exposition& exposition, const std::optional<DatabaseFigures>& figures);

/// With the ids of organizations and credentials, for who allowed it; see Config::metrics_organizations.
void write_lane_figures(Exposition& exposition, const std::optional<DatabaseFigures>& figures);

}  // namespace byocd
