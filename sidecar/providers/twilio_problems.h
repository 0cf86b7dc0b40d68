// What Twilio's refusals mean (https://www.twilio.com/docs/api/errors), for the tenant who has to do something.
#pragma once

#include <string>

#include "problem.h"

namespace byocd {

/// `code`: of an error document or a message that failed. `message`: Twilio's own sentence, used for codes that are not
/// known here; may be empty.
Problem twilio_problem(const std::string& code, const std::string& message);

/// The same for an answer with another status than 2xx.
Problem twilio_answer_problem(const HttpResponse& response);

/// For an answer that cannot be Twilio's.
Problem foreign_answer_problem(int http_status);

}  // namespace byocd
