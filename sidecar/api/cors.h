// Which other origins' pages may use the API: none unless configured.
#pragma once

#include <string>
#include <vector>

#include "exchange.h"

namespace byocd {

class Cors {
 public:
  /// `allowed`: origins such as `https://app.example`.
  explicit Cors(std::vector<std::string> allowed) : allowed_(std::move(allowed)) {}

  /// Whether it asks what a page may do (the Fetch Standard's preflight), for a path of the API.
  bool is_preflight(const ApiRequest& request) const;
  /// `methods`: as in the header Allow.
  ApiAnswer preflight_answer(const std::string& methods) const;
  /// Adds what lets the page of an allowed origin read the answer. Never with cookies.
  void allow(const ApiRequest& request, ApiAnswer& answer) const;

 private:
  bool is_allowed(const ApiRequest& request) const;

  std::vector<std::string> allowed_;
};

}  // namespace byocd
