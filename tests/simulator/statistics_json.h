/// What `GET /_simulator/stats` answers.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include "statistics.h"

namespace simulator {

/// `accepted_per_second` is taken between the first and the last accepted message; null for fewer than two.
nlohmann::json to_json(const statistics& stats);

}  // namespace simulator
