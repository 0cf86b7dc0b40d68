// Properties of the process itself.
#pragma once

namespace byocd {

/// Keeps secrets in memory out of core files and away from other processes of the same user: no core dumps,
/// not traceable (prctl(2), PR_SET_DUMPABLE), and ignores SIGPIPE, since a lost peer is an error code here.
void harden_process();

/// Allows as many open files as the system grants: each request in flight has a socket, and the usual soft limit is
/// 1024.
void raise_file_limit();

}  // namespace byocd
