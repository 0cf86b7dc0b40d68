/// Stripe's account endpoint and the keys that it knows. README.md describes both.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "http.h"

namespace simulator {

class stripe_api {
 public:
  static bool has(std::string_view path) { return path.starts_with("/v1/account"); }

  answer handle(const request& asked) const;

  /// The control API's part, under `/_simulator/stripe`: `topic` is what follows. Throws input_error.
  answer control(const request& asked, std::string_view topic);

 private:
  struct key {
    std::string account;
    std::string country;
    bool charges_enabled = true;
    bool reads_account = true;  // a restricted key may or may not
    bool expired = false;       // rolled, or deleted
  };

  std::map<std::string, key, std::less<>> keys_;
};

}  // namespace simulator
