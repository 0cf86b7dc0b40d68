// Whether the daemon lives and whether it can work.
#pragma once

#include <functional>
#include <string>

namespace byocd {

/// What an HTTP handler answers.
struct ApiAnswer {
  int status = 200;
  std::string content_type;
  std::string body;
};

/// What readiness depends on.
struct Readiness {
  bool can_claim = false;
  bool can_record = false;
  bool draining = false;
};

/// `GET /healthz`: 200 for as long as the loop turns.
ApiAnswer health_answer();

/// `GET /readyz`: 200 when jobs can be claimed and recorded, else 503 with what is missing.
ApiAnswer readiness_answer(const Readiness& readiness);

/// An error as a problem document (RFC 9457).
ApiAnswer problem_answer(int status, const std::string& title, const std::string& detail);

}  // namespace byocd
