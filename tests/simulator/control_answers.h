/// What the control API answers.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string_view>

#include "http.h"

namespace simulator {

answer json_answer(const nlohmann::json& document, int status = 200);

/// `{"error": sentence}`
answer refused(int status, std::string_view sentence);
answer wrong_method(const request& asked);

}  // namespace simulator
