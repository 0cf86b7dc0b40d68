// Tokens that were refused. Their transaction ends with the error, so an entry of it would vanish: it is logged at once
// and waits in shared memory until byoc.seal_audit_log() writes it to the audit trail.
#pragma once

#include "audit.h"
#include "pg_boundary.h"

namespace byoc {

struct FailedAuthentication {
  uint64 sequence;  // 0: the slot is free
  Oid database;
  bool taken;  // by a transaction that is writing it
  int64 more;  // others that came after it and found no place
  AuditActor actor;
  char reason[160];
};

constexpr int failure_capacity = 256;
constexpr int failures_of_a_database = 64;  // so that one database leaves room for the others

// Records that a token was refused; `reason` quotes nothing of it. Writes exactly one line to the server's log.
void note_failed_authentication(const char* reason);

// Appends the waiting ones of this database to the audit trail; they leave shared memory when the transaction commits.
// Not while another transaction does the same.
void audit_failed_authentications();

// Registers the transaction callbacks; called once at load.
void install_failed_authentication_callbacks();

}  // namespace byoc
