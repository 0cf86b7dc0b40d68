#include "shared_state.h"

#include "master_keys.h"

namespace byoc {
namespace {

constexpr char tranche[] = "pg_byoc";

SharedState* state = nullptr;
shmem_request_hook_type previous_request_hook = nullptr;
shmem_startup_hook_type previous_startup_hook = nullptr;

void request_shared_memory() {
  if (previous_request_hook != nullptr) previous_request_hook();
  RequestAddinShmemSpace(MAXALIGN(sizeof(SharedState)));
  RequestNamedLWLockTranche(tranche, 1);
}

void start_shared_memory() {
  if (previous_startup_hook != nullptr) previous_startup_hook();
  bool found = false;
  LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
  state = static_cast<SharedState*>(ShmemInitStruct(tranche, sizeof(SharedState), &found));
  if (!found) {
    memset(static_cast<void*>(state), 0, sizeof *state);
    state->lock = &GetNamedLWLockTranche(tranche)->lock;
    pg_atomic_init_u64(&state->key_generation, 1);
    pg_atomic_init_u32(&state->key_check.busy, 0);
    for (DatabaseWakeup& wakeup : state->wakeups) {
      pg_atomic_init_u32(&wakeup.sleepers, 0);
      pg_atomic_init_u32(&wakeup.committing, 0);
      start_acceptance_times(&wakeup.accepted);
    }
  }
  LWLockRelease(AddinShmemInitLock);
  if (!found) load_keyring_at_start(*state);
}

}  // namespace

SharedState* shared_state() {
  if (state == nullptr) {
    ereport(ERROR,
            (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
             errmsg("pg_byoc must be loaded via shared_preload_libraries"),
             errhint("Add the line shared_preload_libraries = 'pg_byoc' to postgresql.conf and restart PostgreSQL.")));
  }
  return state;
}

DatabaseWakeup* find_wakeup() {
  static DatabaseWakeup* found = nullptr;
  if (found != nullptr) return found;
  SharedState* shared = shared_state();
  LWLockAcquire(shared->lock, LW_EXCLUSIVE);
  for (DatabaseWakeup& wakeup : shared->wakeups) {
    if (wakeup.database == InvalidOid) wakeup.database = MyDatabaseId;
    if (wakeup.database != MyDatabaseId) continue;
    found = &wakeup;
    break;
  }
  LWLockRelease(shared->lock);
  return found;
}

void install_shared_state_hooks() {
  previous_request_hook = shmem_request_hook;
  shmem_request_hook = request_shared_memory;
  previous_startup_hook = shmem_startup_hook;
  shmem_startup_hook = start_shared_memory;
}

}  // namespace byoc
