// Runs byoc.keyring_command.
#pragma once

#include "pg_boundary.h"

namespace byoc {

// What a command left behind, apart from its output.
struct CommandReport {
  char problem[160];  // empty when it ended well
  char
      said[256];  // the last line that it wrote to standard error, printable ASCII; for administrators and the log only
};

// Runs the command with /bin/sh, as archive_command is, and reads at most `capacity` bytes of its standard output into
// `text`, which the caller wipes. It gets no input, none of the server's files, a process group of its own and 30
// seconds. Raises nothing: the postmaster runs it. In a backend, a cancelled query ends it.
void run_keyring_command(const char* command, char* text, size_t capacity, size_t& size, CommandReport& report);

}  // namespace byoc
