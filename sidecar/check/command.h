// `byocd check`: is an organization's (or the environment's) Twilio account fit to send.
#pragma once

#include <string>
#include <vector>

#include "../config.h"

namespace byocd {

/// As typed; empty texts were not given.
struct CheckOptions {
  std::string org_id;
  /// The credential of the environment instead of an organization's.
  bool environment = false;
  std::string recipient;
  /// Of account, number, test_sms and hot_lead_sms; empty: all.
  std::vector<std::string> only;
  bool json = false;
  /// How long each message is followed.
  int patience_seconds = 30;
};

/// Prints what it finds; answers the exit code: 0 all is well, 1 a check failed, 2 used wrongly, 3 database or provider
/// could not be reached.
int check_command(const CheckOptions& options, const Config& config, const Environment& environment);

}  // namespace byocd
