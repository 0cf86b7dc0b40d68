// The extension's own settings (postgresql.conf, ALTER SYSTEM, SET).
#pragma once

namespace byoc {

enum WakeupMode { wakeup_notify, wakeup_poll };

extern char* keyring_file;    // byoc.keyring_file
extern char* keyring_command; // byoc.keyring_command
extern int wakeup_mode;       // byoc.wakeup

// Defines the settings; called once, while shared_preload_libraries are loaded.
void define_settings();

} // namespace byoc
