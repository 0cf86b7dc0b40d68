/// Faults, latency, list and delivery knobs as the control API writes them.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <vector>

#include "delivery.h"
#include "faults.h"
#include "latency.h"
#include "lists.h"

namespace simulator {

/// Reads an array of rules. Throws input_error.
std::vector<fault_rule> faults_from_json(const nlohmann::json& document);
nlohmann::json to_json(const fault_rule& rule);

/// Reads all settings: what is absent gets its default. Throws input_error.
delivery_settings delivery_from_json(const nlohmann::json& document);
nlohmann::json to_json(const delivery_settings& settings);

list_settings lists_from_json(const nlohmann::json& document);
nlohmann::json to_json(const list_settings& settings);

latency_settings latency_from_json(const nlohmann::json& document);
nlohmann::json to_json(const latency_settings& settings);

}  // namespace simulator
