// Putting a message into the queue: the one place that writes queue, schedule and failed rows for SMS.
#pragma once

#include "pg_boundary.h"

namespace byoc {

// A message to be queued. Pointers may be null where the comment says so.
struct NewMessage {
  const pg_uuid_t* organization;
  text* to_number;  // E.164
  text* body;
  const pg_uuid_t* credential_id;  // null: the organization's default
  bool has_send_at;
  TimestampTz send_at;
  bool has_expires_at;
  TimestampTz expires_at;
  text* idempotency_key;  // null: none
  text* source_table;     // null: not from a trigger
};

// Why the message cannot be sent, as a phrase for people; null when it can.
const char* reason_to_refuse(const NewMessage& message);

// Queues the message, or schedules it when send_at is in the future; fills `id`. One to somebody who opted out fails at
// once. Runs with the rights of the extension's owner.
void enqueue(const NewMessage& message, pg_uuid_t* id);

// Stores the message as failed, with code and reason. As enqueue().
void store_failed(const NewMessage& message, const char* code, const char* reason, pg_uuid_t* id);

// The code of a message that cannot be sent as it is.
constexpr char refused_code[] = "refused";

// Prepares a statement of the extension's own and keeps the plan for the session. Every name in it must be qualified.
SPIPlanPtr keep_plan(const char* statement, int parameters, Oid* types);

// Runs code as the extension's owner; restored by end_owner_rights() or the end of the (sub)transaction.
struct OwnerRights {
  Oid user;
  int context;
};
OwnerRights begin_owner_rights();
void end_owner_rights(const OwnerRights& saved);

}  // namespace byoc
