// What all backends share: the key ring, the generation of the data keys, who sleeps, and refused
// tokens that wait for the audit trail.
#pragma once

#include "acceptance_times.h"
#include "crypto/keyring.h"
#include "failed_authentication.h"
#include "pg_boundary.h"
#include "wakeup_set.h"

namespace byoc {

// What the sessions of one database share: its wake-up state (see wakeup.h), and counts.
struct DatabaseWakeup {
  Oid database;
  pg_atomic_uint32 sleepers;    // dispatcher sessions that wait for a NOTIFY
  pg_atomic_uint32 committing;  // transactions that enqueued, saw no sleeper and are not visible yet
  WakeupSet lanes;              // that have work, or are being served
  AcceptanceTimes accepted;
};

constexpr int wakeup_capacity = 64;  // databases; those beyond always notify, and count nothing

// What a reload of the key ring asks background workers (see key_check.h).
struct KeyCheck {
  pg_atomic_uint32 busy;  // a session asks
  uint64 request;         // counts questions, so that a late answer to an abandoned one is ignored
  int id_count;
  char ids[keyring_capacity][key_id_capacity + 1];  // master keys that are about to be removed
  bool answered;
  char found[2048];  // empty: the database does not need them
};

struct SharedState {
  LWLock* lock;  // guards everything that is not atomic
  Keyring keyring;
  char keyring_problem[512];  // empty when the ring is usable
  pg_atomic_uint64 key_generation;
  KeyCheck key_check;
  DatabaseWakeup wakeups[wakeup_capacity];
  uint64 last_failure;
  FailedAuthentication failures[failure_capacity];
};

// The shared state; an error that names the missing line of postgresql.conf when the library was not preloaded.
SharedState* shared_state();

// That of this database; null when there are more databases than places.
DatabaseWakeup* find_wakeup();

// Asks for shared memory; called once from _PG_init while libraries are preloaded.
void install_shared_state_hooks();

}  // namespace byoc
