// What the system knows of this process.
#pragma once

#include "exposition.h"

namespace byocd {

/// CPU time, memory, file descriptors and start, by the names that Prometheus' own libraries give them. Leaves out what
/// /proc does not tell.
void write_process_figures(Exposition& exposition);

}  // namespace byocd
