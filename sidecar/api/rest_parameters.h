// What the REST API's SQL functions are called with. Nothing but the form of a request is looked at here.
#pragma once

#include <optional>
#include <string>

#include "../db/connection.h"
#include "../result.h"
#include "exchange.h"

namespace byocd {

using Parameters = Result<Params, ApiAnswer>;

Parameters no_parameters(const ApiRequest& request);
/// limit, after
Parameters page_parameters(const ApiRequest& request);
/// status, search, limit, after
Parameters message_page_parameters(const ApiRequest& request);
/// hours
Parameters statistics_parameters(const ApiRequest& request);
/// date, duration
Parameters availability_parameters(const ApiRequest& request);
/// id; 404 for what is no UUID
Parameters id_parameters(const ApiRequest& request);
/// id, limit, after
Parameters id_page_parameters(const ApiRequest& request);
/// body, Idempotency-Key; 415 and 400 for what is no JSON
Parameters body_parameters(const ApiRequest& request);
/// id, body, If-Match; 428 without the last
Parameters change_parameters(const ApiRequest& request);
/// id, If-Match
Parameters revoke_parameters(const ApiRequest& request);
/// id, Idempotency-Key
Parameters verify_parameters(const ApiRequest& request);

/// What keeps the body from being read as JSON.
std::optional<ApiAnswer> json_problem(const ApiRequest& request);

/// `<?limit=10&after=...>; rel="next"`: the request's own query with another `after`.
std::string next_link(const ApiRequest& request, std::string_view cursor);

/// The media type of the body, in lower case, without parameters.
std::string media_type(const ApiRequest& request);

}  // namespace byocd
