// Work of ours that must not take the application's statement with it.
#pragma once

#include "pg_boundary.h"

namespace byoc {

// Runs `action` in a subtransaction, so that its failure does not abort the application's statement. Returns the
// error's message, or null. The memory context is the caller's again, whatever happened.
template <class Action>
char* try_to(const Action& action) {
  char* volatile failure = nullptr;
  MemoryContext caller = CurrentMemoryContext;
  ResourceOwner owner = CurrentResourceOwner;
  BeginInternalSubTransaction(nullptr);
  MemoryContextSwitchTo(caller);
  PG_TRY();
  {
    action();
    ReleaseCurrentSubTransaction();
    MemoryContextSwitchTo(caller);
    CurrentResourceOwner = owner;
  }
  PG_CATCH();
  {
    MemoryContextSwitchTo(caller);
    ErrorData* error = CopyErrorData();
    FlushErrorState();
    RollbackAndReleaseCurrentSubTransaction();
    MemoryContextSwitchTo(caller);
    CurrentResourceOwner = owner;
    // A cancelled statement must end, a serialization failure be tried again by the application, a full disk be mended.
    for (int passed_on :
         {ERRCODE_OPERATOR_INTERVENTION, ERRCODE_TRANSACTION_ROLLBACK, ERRCODE_INSUFFICIENT_RESOURCES}) {
      if (ERRCODE_TO_CATEGORY(error->sqlerrcode) == passed_on) ReThrowError(error);
    }
    failure = error->message;
  }
  PG_END_TRY();
  return failure;
}

}  // namespace byoc
