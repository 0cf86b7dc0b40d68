#include "failed_authentication.h"

#include "data_keys.h"
#include "shared_state.h"

namespace byoc {
namespace {

bool taking = false;  // this transaction writes what it took
SubTransactionId taken_in = InvalidSubTransactionId;

// Frees the slots that this database's writer took, or gives them back.
void end_taking(bool written) {
  if (!taking) return;
  taking = false;
  SharedState* state = shared_state();
  LWLockAcquire(state->lock, LW_EXCLUSIVE);
  for (FailedAuthentication& slot : state->failures) {
    if (slot.database != MyDatabaseId || !slot.taken) continue;
    slot.taken = false;
    if (written) slot.sequence = 0;
  }
  LWLockRelease(state->lock);
}

void on_transaction_event(XactEvent event, void*) {
  if (event == XACT_EVENT_COMMIT) end_taking(true);
  if (event == XACT_EVENT_ABORT || event == XACT_EVENT_PREPARE) end_taking(false);
}

void on_subtransaction_event(SubXactEvent event, SubTransactionId own, SubTransactionId parent, void*) {
  if (!taking || own != taken_in) return;
  if (event == SUBXACT_EVENT_ABORT_SUB) end_taking(false);
  if (event == SUBXACT_EVENT_COMMIT_SUB) taken_in = parent;
}

void keep(const AuditActor& actor, const char* reason) {
  SharedState* state = shared_state();
  LWLockAcquire(state->lock, LW_EXCLUSIVE);
  FailedAuthentication* free_slot = nullptr;
  FailedAuthentication* newest = nullptr;
  int count = 0;
  for (FailedAuthentication& slot : state->failures) {
    if (slot.sequence == 0) {
      free_slot = &slot;
    } else if (slot.database == MyDatabaseId && !slot.taken) {
      ++count;
      if (newest == nullptr || slot.sequence > newest->sequence) newest = &slot;
    }
  }
  if (free_slot != nullptr && count < failures_of_a_database) {
    free_slot->sequence = ++state->last_failure;
    free_slot->database = MyDatabaseId;
    free_slot->taken = false;
    free_slot->more = 0;
    free_slot->actor = actor;
    strlcpy(free_slot->reason, reason, sizeof free_slot->reason);
  } else if (newest != nullptr) {
    ++newest->more;
  }
  LWLockRelease(state->lock);
}

int compare_sequence(const void* a, const void* b) {
  const uint64 first = static_cast<const FailedAuthentication*>(a)->sequence;
  const uint64 second = static_cast<const FailedAuthentication*>(b)->sequence;
  return first < second ? -1 : 1;
}

// What waits for this database, oldest first, in palloc'ed memory.
FailedAuthentication* take(int* count) {
  auto* taken = static_cast<FailedAuthentication*>(palloc(sizeof(FailedAuthentication) * failure_capacity));
  *count = 0;
  SharedState* state = shared_state();
  LWLockAcquire(state->lock, LW_EXCLUSIVE);
  for (FailedAuthentication& slot : state->failures) {
    if (slot.sequence == 0 || slot.taken || slot.database != MyDatabaseId) continue;
    slot.taken = true;
    taken[(*count)++] = slot;
  }
  // Rather twice than never: what an earlier part of the transaction took shares the fate of the latest.
  if (*count > 0) {
    taking = true;
    taken_in = GetCurrentSubTransactionId();
  }
  LWLockRelease(state->lock);
  qsort(taken, static_cast<size_t>(*count), sizeof *taken, compare_sequence);
  return taken;
}

}  // namespace

void note_failed_authentication(const char* reason) {
  const AuditActor actor = current_actor();
  char* what = psprintf("authentication failed: %s", reason);
  log_audit(what, actor);
  pfree(what);
  if (OidIsValid(MyDatabaseId) && MyProc != nullptr) keep(actor, reason);
}

void audit_failed_authentications() {
  int count = 0;
  const FailedAuthentication* failures = take(&count);
  for (int i = 0; i < count; ++i) {
    append_audit_entry({&installation, "authentication.failed", nullptr,
                        audit_details("reason", failures[i].reason, "more", failures[i].more), &failures[i].actor});
  }
}

void install_failed_authentication_callbacks() {
  RegisterXactCallback(on_transaction_event, nullptr);
  RegisterSubXactCallback(on_subtransaction_event, nullptr);
}

}  // namespace byoc
