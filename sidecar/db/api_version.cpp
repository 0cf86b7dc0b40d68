#include "api_version.h"

#include <fmt/format.h>

namespace byocd {

std::optional<std::string> find_version_problem(const Rows& answer) {
  const int oldest = answer.integer(0, 0);
  const int newest = answer.integer(0, 1);
  if (oldest <= supported_api_version && supported_api_version <= newest) return std::nullopt;
  return fmt::format("the database speaks byoc.api_version() {}, this byocd speaks {}: upgrade the older one", newest,
                     supported_api_version);
}

}  // namespace byocd
