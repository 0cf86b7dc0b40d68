// Keeps secrets out of the server's log.
#pragma once

namespace byoc {

// Registers the log hook; called once at load.
void install_log_guard();

}  // namespace byoc
