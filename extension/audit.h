// The audit trail: entries with a keyed MAC, which name who did what, when and from where. The audit key's MACs are
// made here only; no SQL function gives one out, so whoever can change the tables cannot write an entry of their own.
#pragma once

#include "crypto/audit_mac.h"
#include "pg_boundary.h"

namespace byoc {

// Who, when and from where. Plain data, since it also waits in shared memory. Empty text: none.
struct AuditActor {
  TimestampTz at;
  char role[NAMEDATALEN];          // in force, as SET ROLE left it
  char session_role[NAMEDATALEN];  // that logged in
  char client_addr[64];            // empty for a Unix-domain socket
  char application_name[NAMEDATALEN];
  int pid;
};

// The current session, now. Outside of a transaction without the roles.
AuditActor current_actor();

// One entry. The tenant context's user and role are added when there is one.
struct AuditEntry {
  const pg_uuid_t* organization;  // &installation: of the installation itself
  const char* action;
  const pg_uuid_t* object;  // null: none
  Jsonb* details;           // null: none
  const AuditActor* actor;  // null: the current session
};

// Appends an entry in the current transaction, with the rights of the extension's owner. Makes the audit key when there
// is none yet. Raises when the entry cannot be written: then what it records must not happen.
void append_audit_entry(const AuditEntry& entry);

// Writes "pg_byoc audit: WHAT; role ..., client ..." to the server's log, at once: what a rollback cannot take back.
void log_audit(const char* what, const AuditActor& actor);

// jsonb of one text and one integer member; the latter is left out when it is 0.
Jsonb* audit_details(const char* name, const char* value, const char* count_name, int64 count);

// An integer as eight bytes, big endian, for a MAC.
struct EncodedInteger {
  char bytes[8];
  explicit EncodedInteger(int64 value);
  std::string_view view() const { return {bytes, sizeof bytes}; }
};

}  // namespace byoc
