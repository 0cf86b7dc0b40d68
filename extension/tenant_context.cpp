#include "tenant_context.h"

#include "citus.h"
#include "crypto/jwt.h"
#include "data_keys.h"
#include "failed_authentication.h"
#include "jwks_file.h"
#include "master_keys.h"
#include "secret_statements.h"
#include "settings.h"

#include <openssl/crypto.h>

namespace byoc {
namespace {

constexpr int64 session_token_lifetime = 15 * USECS_PER_MINUTE;
constexpr char set_org_hint[] =
    "Call byoc.authenticate(token), or byoc.set_org(org_id), first in the same transaction.";

const TenantContext* context = nullptr;  // the setting's parsed value; owned by the setting

OrganizationRole role_from_name(const char* name) {
  for (auto role : {OrganizationRole::member, OrganizationRole::admin, OrganizationRole::owner}) {
    if (strcmp(name, role_name(role)) == 0) return role;
  }
  ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("unknown organization role \"%s\"", name),
                  errhint("Roles are owner, admin and member.")));
}

bool reject(int sqlstate, const char* reason) {
  note_failed_authentication(reason);
  GUC_check_errcode(sqlstate);
  GUC_check_errmsg("byoc.token is not accepted: %s", reason);  // the default message would print the token
  return false;
}

bool reject(const char* reason) {
  return reject(ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION, reason);
}

// A token in postgresql.conf, ALTER SYSTEM, ALTER DATABASE or ALTER ROLE would be readable by others.
bool is_published_source(GucSource source) {
  switch (source) {
    case PGC_S_CLIENT:
    case PGC_S_OVERRIDE:
    case PGC_S_INTERACTIVE:
    case PGC_S_SESSION:
      return false;
    default:
      return true;
  }
}

// The backend that minted the token, or a parallel worker of it. With Citus, which carries a context to sessions of its
// own on the nodes that a transaction reaches, any backend of any node (process_id 0).
bool is_bound_to_this_backend(int process_id) {
  if (process_id == MyProcPid) return true;
  if (process_id == 0) return is_citus_loaded();
  return IsParallelWorker() && MyProc != nullptr && MyProc->lockGroupLeader != nullptr &&
         MyProc->lockGroupLeader->pid == process_id;
}

bool may_bypass(Oid role) {
  return superuser_arg(role) || has_bypassrls_privilege(role);
}

const char* describe(TokenError error) {
  switch (error) {
    case TokenError::none:
      return "no problem";
    case TokenError::malformed:
      return "it is malformed";
    case TokenError::unknown_key:
      return "it was signed with a key that the key ring does not have";
    case TokenError::bad_signature:
      return "its signature is wrong";
    case TokenError::failed:
      return "verification failed";
  }
  return "verification failed";
}

// Whether byoc.distribute() was run here.
bool is_distributed() {
  return is_citus_loaded() && OidIsValid(get_relname_relid("homes", get_namespace_oid("byoc", true)));
}

// SET LOCAL as a statement, of a token that was accepted here: Citus hands it to the nodes of the transaction, now and
// when it reaches more. What C sets stays here.
void set_token_on_nodes(const char* token) {
  (void)set_config_option("citus.propagate_set_commands", "local", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_LOCAL, true,
                          0, false);
  char* statement = psprintf("SET LOCAL byoc.token = %s", quote_literal_cstr(token));
  const MemoryContext caller = CurrentMemoryContext;
  PG_TRY();
  {
    SPI_connect();
    const int result = SPI_execute(statement, false, 0);
    if (result != SPI_OK_UTILITY) elog(ERROR, "could not set the tenant context: %s", SPI_result_code_string(result));
    SPI_finish();
  }
  PG_CATCH();
  {
    MemoryContextSwitchTo(caller);
    ErrorData* error = CopyErrorData();
    FlushErrorState();
    error->context = nullptr;  // it would quote the statement
    ReThrowError(error);
  }
  PG_END_TRY();
  OPENSSL_cleanse(statement, strlen(statement));
  pfree(statement);
}

// Sets byoc.token as SET LOCAL or SET does; raises what the check says.
void set_token(const char* token, bool local) {
  (void)set_config_option("byoc.token", token, PGC_USERSET, PGC_S_SESSION, local ? GUC_ACTION_LOCAL : GUC_ACTION_SET,
                          true, 0, false);
  if (local && is_distributed()) set_token_on_nodes(token);
}

// Verifies a JWT. Puts a session token of this backend in its place, which proves the same: a parallel worker, which
// verifies its leader's setting when it starts, then needs no key set, whose reload meanwhile would make the start
// fail. The JWT itself is not kept.
bool check_jwt(char** value, const Keyring& ring, TenantContext& parsed) {
  note_secret();
  const char* problem = nullptr;
  const Jwks* keys = current_jwks(&problem);
  if (keys == nullptr) {
    const bool expected = jwks_file == nullptr || jwks_file[0] == '\0';
    return reject(expected ? ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION : ERRCODE_CONFIG_FILE_ERROR, problem);
  }
  JwtRules rules;
  rules.issuer = jwt_issuer;
  rules.audience = jwt_audience;
  rules.organization_claim = jwt_org_claim;
  rules.now = GetCurrentTimestamp();
  if (const JwtError error = verify_jwt(*keys, *value, rules, parsed); error != JwtError::none) {
    return reject(describe(error));
  }
  parsed.process_id = MyProcPid;
  auto* token = static_cast<char*>(allocate_for_setting(session_token_capacity));
  if (token == nullptr) return false;
  if (mint_session_token(ring, parsed, *reinterpret_cast<char(*)[session_token_capacity]>(token)) != TokenError::none) {
    free_from_setting(token);
    return reject(describe(TokenError::failed));
  }
  OPENSSL_cleanse(*value, strlen(*value));
  free_from_setting(*value);
  *value = token;
  return true;
}

bool check_session_token(const char* value, const Keyring& ring, TenantContext& parsed) {
  const TokenError error = read_session_token(ring, value, parsed);
  if (error != TokenError::none) return reject(describe(error));
  if (!is_bound_to_this_backend(parsed.process_id)) return reject("it belongs to another session");
  // A parallel worker takes over its leader's setting, which may have expired meanwhile: each use checks again.
  if (!IsParallelWorker() && parsed.expires_at <= GetCurrentTimestamp()) return reject("it has expired");
  return true;
}

}  // namespace

const char* role_name(OrganizationRole role) {
  switch (role) {
    case OrganizationRole::owner:
      return "owner";
    case OrganizationRole::admin:
      return "admin";
    case OrganizationRole::member:
      break;
  }
  return "member";
}

bool check_token_setting(char** value, void** extra, GucSource source) {
  if (*value == nullptr || (*value)[0] == '\0') return true;
  if (is_published_source(source)) {
    GUC_check_errcode(ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION);
    GUC_check_errmsg("byoc.token is not accepted: it can only be set within a session");
    return false;
  }
  Keyring ring;
  copy_keyring(ring);
  TenantContext parsed;
  const bool good =
      is_session_token(*value) ? check_session_token(*value, ring, parsed) : check_jwt(value, ring, parsed);
  cleanse(ring);
  if (!good) return false;
  if (memcmp(parsed.organization, installation.data, UUID_LEN) == 0) return reject("no organization has the nil UUID");
  void* kept = allocate_for_setting(sizeof parsed);
  if (kept == nullptr) return false;
  memcpy(kept, &parsed, sizeof parsed);
  *extra = kept;
  return true;
}

void assign_token_setting(const char*, void* extra) {
  context = static_cast<const TenantContext*>(extra);
}

const char* show_token_setting() {
  return context == nullptr ? "" : "(hidden)";
}

const TenantContext* stated_context() {
  return context;
}

const TenantContext* current_context() {
  if (context != nullptr && context->expires_at <= GetCurrentTimestamp()) {
    ereport(ERROR, (errcode(ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION), errmsg("the tenant context has expired"),
                    errhint("%s", set_org_hint)));
  }
  // Removing a key from the key set ends what it signed, also in sessions that set their token before, also in their
  // workers.
  if (context != nullptr && context->signer != 0 && !is_signer_trusted(context->signer)) {
    ereport(ERROR, (errcode(ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION),
                    errmsg("the key that signed the tenant context is no longer in byoc.jwks_file"),
                    errhint("%s", set_org_hint)));
  }
  return context;
}

bool sees_all_organizations() {
  if (current_context() != nullptr || InSecurityRestrictedOperation() || is_autovacuum_worker()) return false;
  // The session's user, and whose rights are in force now: the same, or a SECURITY DEFINER function's owner.
  return may_bypass(GetOuterUserId()) && may_bypass(GetUserId());
}

void require_organization(const pg_uuid_t* organization, OrganizationRole least) {
  const TenantContext* current = current_context();
  if (current == nullptr) {
    if (organization != nullptr && sees_all_organizations()) return;
    ereport(ERROR, (errcode(ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION), errmsg("no tenant context is set"),
                    errhint("%s", set_org_hint)));
  }
  if (organization == nullptr || memcmp(current->organization, organization->data, UUID_LEN) != 0) {
    ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE), errmsg("the tenant context is of another organization")));
  }
  if (current->role < least) {
    ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
                    errmsg("this needs the organization role \"%s\", the tenant context has \"%s\"", role_name(least),
                           role_name(current->role))));
  }
}

extern "C" {

PG_FUNCTION_INFO_V1(byoc_current_org_id);
// byoc.current_org_id() -> uuid
Datum byoc_current_org_id(PG_FUNCTION_ARGS) {
  const TenantContext* current = current_context();
  if (current == nullptr) PG_RETURN_NULL();
  auto* result = static_cast<pg_uuid_t*>(palloc(sizeof(pg_uuid_t)));
  memcpy(result->data, current->organization, UUID_LEN);
  PG_RETURN_UUID_P(result);
}

PG_FUNCTION_INFO_V1(byoc_current_user_id);
// byoc.current_user_id() -> text
Datum byoc_current_user_id(PG_FUNCTION_ARGS) {
  const TenantContext* current = current_context();
  if (current == nullptr || current->user_id_size == 0) PG_RETURN_NULL();
  PG_RETURN_TEXT_P(cstring_to_text_with_len(current->user_id, current->user_id_size));
}

PG_FUNCTION_INFO_V1(byoc_current_org_role);
// byoc.current_org_role() -> text
Datum byoc_current_org_role(PG_FUNCTION_ARGS) {
  const TenantContext* current = current_context();
  if (current == nullptr) PG_RETURN_NULL();
  PG_RETURN_TEXT_P(cstring_to_text(role_name(current->role)));
}

PG_FUNCTION_INFO_V1(byoc_sees_all_organizations);
// byoc.sees_all_organizations() -> boolean
Datum byoc_sees_all_organizations(PG_FUNCTION_ARGS) {
  PG_RETURN_BOOL(sees_all_organizations());
}

PG_FUNCTION_INFO_V1(byoc_require_organization);
// byoc.require_organization(org_id uuid, least_role text) -> void
Datum byoc_require_organization(PG_FUNCTION_ARGS) {
  require_organization(PG_ARGISNULL(0) ? nullptr : PG_GETARG_UUID_P(0),
                       role_from_name(PG_ARGISNULL(1) ? "member" : text_to_cstring(PG_GETARG_TEXT_PP(1))));
  PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(byoc_set_org);
// byoc.set_org(org_id uuid, user_id text, org_role text, local boolean) -> uuid
// Written in C without SET clauses: a function's own SET clause would undo the setting when the function returns.
Datum byoc_set_org(PG_FUNCTION_ARGS) {
  if (PG_ARGISNULL(0)) {
    ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("org_id must not be null")));
  }
  pg_uuid_t* organization = PG_GETARG_UUID_P(0);
  TenantContext claimed = {};
  memcpy(claimed.organization, organization->data, UUID_LEN);
  claimed.expires_at = GetCurrentTimestamp() + session_token_lifetime;
  const bool local = PG_ARGISNULL(3) || PG_GETARG_BOOL(3);
  const bool distributed = is_distributed();
  if (distributed && !local) {
    ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
                    errmsg("a tenant context of a session does not reach the nodes of a Citus cluster"),
                    errhint("Set it for each transaction: local => true.")));
  }
  claimed.process_id = distributed ? 0 : MyProcPid;
  claimed.role = role_from_name(PG_ARGISNULL(2) ? "member" : text_to_cstring(PG_GETARG_TEXT_PP(2)));
  if (!PG_ARGISNULL(1)) {
    const text* user_id = PG_GETARG_TEXT_PP(1);
    const size_t size = VARSIZE_ANY_EXHDR(user_id);
    if (size > user_id_capacity) {
      ereport(ERROR, (errcode(ERRCODE_STRING_DATA_RIGHT_TRUNCATION),
                      errmsg("user_id has %zu bytes, at most %zu are allowed", size, user_id_capacity)));
    }
    claimed.user_id_size = static_cast<uint8>(size);
    memcpy(claimed.user_id, VARDATA_ANY(user_id), size);
  }
  Keyring ring;
  copy_keyring(ring);
  char token[session_token_capacity];
  const TokenError error = mint_session_token(ring, claimed, token);
  cleanse(ring);
  if (error != TokenError::none) {
    ereport(ERROR, (errcode(ERRCODE_EXTERNAL_ROUTINE_EXCEPTION), errmsg("could not sign a tenant context")));
  }
  set_token(token, local);
  OPENSSL_cleanse(token, sizeof token);
  PG_RETURN_UUID_P(organization);
}

PG_FUNCTION_INFO_V1(byoc_authenticate);
// byoc.authenticate(token text) -> uuid
// In C without SET clauses, like byoc.set_org.
Datum byoc_authenticate(PG_FUNCTION_ARGS) {
  char* token = PG_ARGISNULL(0) ? nullptr : text_to_cstring(PG_GETARG_TEXT_PP(0));
  if (token == nullptr || token[0] == '\0') {
    note_failed_authentication("no token is given");
    ereport(ERROR, (errcode(ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION), errmsg("no token is given")));
  }
  set_token(token, true);
  OPENSSL_cleanse(token, strlen(token));
  pfree(token);
  auto* result = static_cast<pg_uuid_t*>(palloc(sizeof(pg_uuid_t)));
  memcpy(result->data, context->organization, UUID_LEN);
  PG_RETURN_UUID_P(result);
}
}

}  // namespace byoc
