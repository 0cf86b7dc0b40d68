// `byocd run`: puts the parts together and takes them from start to drain.
#pragma once

#include <functional>

#include "config.h"

namespace byocd {

/// Reads the settings again, for SIGHUP.
using Reload = std::function<Result<Config, ConfigError>()>;

/// Runs until SIGTERM or SIGINT. Answers the exit code: 0 when everything was settled, 1 when outcomes could not be
/// recorded or a second signal cut the drain short. Throws std::runtime_error when it cannot start (an address in use).
int run_daemon(const Config& config, const Reload& reload);

}  // namespace byocd
