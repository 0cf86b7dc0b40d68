/// Accounts as the control API and the `--accounts` file write them.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "accounts.h"

namespace simulator {

/// Reads one account object or an array of them. Throws input_error.
std::vector<account> accounts_from_json(const nlohmann::json& document);

/// The account without its auth token and key secrets.
nlohmann::json public_json(const account& subject);

}  // namespace simulator
