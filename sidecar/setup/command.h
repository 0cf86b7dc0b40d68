// `byocd setup`: takes a Twilio credential, checks it, and stores it in the database or in a file of variables.
#pragma once

#include <optional>
#include <string>

#include "../config.h"

namespace byocd {

/// As typed; empty texts were not given.
struct SetupOptions {
  /// Where to: an organization, a new one, or a file.
  std::string org_id;
  std::string create_org;
  std::string env_file;
  /// Change a file that exists, or replace the credential of an organization that has one.
  bool force = false;
  /// Where from: JSON from this file descriptor, or the environment. Neither: a person is asked.
  std::optional<int> fields_descriptor;
  bool from_environment = false;
};

/// Answers the exit code: 0 stored, 1 refused, 2 used wrongly, 3 database or Twilio could not be reached. What was
/// refused is not stored.
int setup_command(SetupOptions options, const Config& config, const Environment& environment);

}  // namespace byocd
