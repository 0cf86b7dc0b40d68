// Who the session acts for: the organization, user and role that the signed token in byoc.token proves.
#pragma once

#include "crypto/session_token.h"
#include "pg_boundary.h"

namespace byoc {

// Hooks of the setting byoc.token (settings.cpp). The check verifies the token once; its parsed form travels with the
// setting through SET LOCAL, savepoints, ROLLBACK and into parallel workers.
bool check_token_setting(char** value, void** extra, GucSource source);
void assign_token_setting(const char* value, void* extra);
const char* show_token_setting();

// The proved context; null when there is none. Raises 28000 when it has expired.
const TenantContext* current_context();

// The context as it was set, also one that has expired: for the record only. Null when there is none.
const TenantContext* stated_context();

// "owner", "admin" or "member".
const char* role_name(OrganizationRole role);

// True when the session has no context and its user may see past row-level security. False within maintenance commands
// (ANALYZE, REINDEX, autovacuum), which run a table owner's functions while the session's user is a superuser.
bool sees_all_organizations();

// Raises unless the caller may act for the organization: 28000 without a context, 42501 for another organization or
// a role below `least`.
void require_organization(const pg_uuid_t* organization, OrganizationRole least);

}  // namespace byoc
