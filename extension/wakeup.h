// Waking the dispatcher without a NOTIFY in every transaction: a transaction that enqueued notifies at commit only
// when a dispatcher sleeps. (NOTIFY in each transaction serializes commits and cuts concurrent inserts to a third.)
//
//   writer, before commit:     committing++, barrier, read sleepers; if somebody sleeps: committing--, NOTIFY
//   writer, after commit:      committing-- if still counted
//   dispatcher, before sleep:  sleepers++, barrier, wait until committing is 0, then look at the queue once more
//
// So a writer either sees the sleeper and notifies, or is waited for and its rows are seen.
#pragma once

#include "pg_boundary.h"

namespace byoc {

// This transaction enqueued work.
void note_enqueued();

// Registers the callbacks; called once at load.
void install_wakeup_callbacks();

}  // namespace byoc
