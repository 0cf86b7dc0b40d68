// What the database refused, as HTTP says it.
#pragma once

#include "../db/rows.h"
#include "exchange.h"

namespace byocd {

/// 401 (with WWW-Authenticate) for a token that is not good, 403, 404, 409, 412, 422 with the member or parameter that
/// is wrong, 503 when it can work later (with Retry-After), and 500, logged, for what nobody expected.
ApiAnswer refusal_problem(const DbError& error);

/// 503, to be tried again in a second.
ApiAnswer not_now_problem(const std::string& detail);

/// 422 that names one member or parameter.
ApiAnswer field_problem(const std::string& field, const std::string& detail);

}  // namespace byocd
