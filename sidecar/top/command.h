// `byocd top`: the queue, live.
#pragma once

#include "../config.h"

namespace byocd {

struct TopOptions {
  /// Print one frame and end; so it does without a terminal, too.
  bool once = false;
  double interval_seconds = 1;
};

/// Answers the exit code: 0, or 3 when the database cannot be reached or refuses.
int top_command(const TopOptions& options, const Config& config);

}  // namespace byocd
