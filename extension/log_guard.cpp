#include "log_guard.h"

#include "pg_boundary.h"

#include <initializer_list>

extern "C" {
#include "commands/prepare.h"
#include "tcop/tcopprot.h"
}

namespace byoc {
namespace {

emit_log_hook_type previous_hook = nullptr;

constexpr char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_";
constexpr char blanks[] = " \t\r\n\f\v";
constexpr char withheld[] = "(withheld by pg_byoc: the statement may hold a secret)";

// Functions that take or return a secret, by the beginning of their names, and other names that come with one. A
// statement that uses one is not logged, nor are its parameters. PostgREST sets request.headers, with the Authorization
// header in it.
const char* const secret_functions[] = {"add_credential", "update_credential", "authenticate",
                                        "encrypt",        "decrypt",           "unseal"};
const char* const secret_names[] = {"credentials", "request.headers"};

const char* skip(const char* text, const char* characters) {
  return text + strspn(text, characters);
}

// True when `text` calls a function whose name begins with `name`: the name's rest, a quote, white space, a
// parenthesis.
bool calls(const char* text, const char* name) {
  for (const char* found = strcasestr(text, name); found != nullptr; found = strcasestr(found, name)) {
    found += strlen(name);
    const char* rest = skip(found, letters);
    if (*rest == '"') ++rest;
    if (*skip(rest, blanks) == '(') return true;
  }
  return false;
}

// True when `text` names the setting byoc.token, however it is quoted.
bool names_token_setting(const char* text) {
  for (const char* found = strcasestr(text, "byoc"); found != nullptr; found = strcasestr(found, "byoc")) {
    found += strlen("byoc");
    const char* rest = skip(found, " \t\r\n\f\v\".");
    if (rest != found && pg_strncasecmp(rest, "token", strlen("token")) == 0) return true;
  }
  return false;
}

bool names_secret(const char* text) {
  if (text == nullptr) return false;
  for (const char* name : secret_functions) {
    if (calls(text, name)) return true;
  }
  for (const char* name : secret_names) {
    if (strcasestr(text, name) != nullptr) return true;
  }
  return names_token_setting(text);
}

// EXECUTE names a prepared statement: what counts is the text that was prepared.
bool executes_secret(const char* text) {
  if (text == nullptr) return false;
  const char* rest = skip(text, blanks);
  if (pg_strncasecmp(rest, "execute", strlen("execute")) != 0) return false;
  rest = skip(rest + strlen("execute"), blanks);
  char name[NAMEDATALEN] = {};
  const bool quoted = *rest == '"';
  if (quoted) ++rest;
  const size_t size = quoted ? strcspn(rest, "\"") : strcspn(rest, "(; \t\r\n\f\v");
  if (size == 0 || size >= sizeof name) return true;  // not a name that can be looked up: rather say too little
  memcpy(name, rest, size);
  for (char* c = name; !quoted && *c != '\0'; ++c) *c = pg_ascii_tolower(static_cast<unsigned char>(*c));
  const PreparedStatement* prepared = FetchPreparedStatement(name, false);
  return prepared != nullptr && names_secret(prepared->plansource->query_string);
}

// True for errors whose text PostgreSQL writes from the statement's own literals: syntax and data errors that come
// neither from PL/pgSQL's RAISE nor from our own C++ (PostgreSQL itself is written in C).
bool may_quote_input(const ErrorData* error) {
  const int error_class = ERRCODE_TO_CATEGORY(error->sqlerrcode);
  if (error_class != ERRCODE_TO_CATEGORY(ERRCODE_SYNTAX_ERROR) && error_class != ERRCODE_DATA_EXCEPTION) return false;
  if (error->filename == nullptr) return true;
  return strcmp(error->filename, "pl_exec.c") != 0 && strstr(error->filename, ".cpp") == nullptr;
}

// The line of a statement that is logged with its text: its length up to that text, such as "duration: 0.1 ms  execute
// q: ". 0 for any other line.
int statement_prefix(const char* message) {
  const char* rest = message;
  if (strncmp(rest, "duration: ", strlen("duration: ")) == 0) {
    rest = strstr(rest, " ms  ");
    if (rest == nullptr) return 0;
    rest += strlen(" ms  ");
  }
  for (const char* mark : {"statement: ", "execute ", "parse ", "bind ", "plan:"}) {
    if (strncmp(rest, mark, strlen(mark)) == 0) return static_cast<int>(rest - message + strlen(mark));
  }
  return 0;
}

// An error that quotes its input goes to the client as it is; the log gets a line of its own. (Changing the message
// would change what the client is told.)
void log_instead(ErrorData* error) {
  error->output_to_server = false;
  ereport(LOG_SERVER_ONLY, (errcode(error->sqlerrcode), errhidestmt(true), errhidecontext(true),
                            errmsg_internal("error %s: %s", unpack_sql_state(error->sqlerrcode), withheld)));
}

// Keeps statement, parameters and context out of the log. These three concern the log only, not the client.
void guard_line(ErrorData* error) {
  error->hide_stmt = true;
  error->hide_ctx = true;
  if (error->detail != nullptr || error->detail_log != nullptr)
    error->detail_log = pstrdup(withheld);  // freed with the error, like all of it
  if (error->message == nullptr) return;
  const int prefix = statement_prefix(error->message);
  if (error->elevel >= ERROR) {
    if (may_quote_input(error)) log_instead(error);
  } else if (prefix > 0 || names_secret(error->message)) {
    error->message = psprintf("%.*s%s", prefix, error->message, withheld);
  }
}

bool inside = false;  // a line of our own is being written

void guard(ErrorData* error) {
  if (!inside && error->output_to_server) {
    inside = true;
    PG_TRY();
    {
      if (names_secret(debug_query_string) || executes_secret(debug_query_string) || names_secret(error->message) ||
          names_secret(error->detail) || names_secret(error->detail_log) || names_secret(error->context)) {
        guard_line(error);
      }
    }
    PG_FINALLY();
    { inside = false; }
    PG_END_TRY();
  }
  if (previous_hook != nullptr) previous_hook(error);
}

}  // namespace

void log_unguarded(const char* line) {
  inside = true;
  PG_TRY();
  { ereport(LOG_SERVER_ONLY, (errhidestmt(true), errhidecontext(true), errmsg_internal("%s", line))); }
  PG_FINALLY();
  { inside = false; }
  PG_END_TRY();
}

void install_log_guard() {
  previous_hook = emit_log_hook;
  emit_log_hook = guard;
}

}  // namespace byoc
