#include "log_guard.h"

#include "pg_boundary.h"
#include "secret_statements.h"

#include <initializer_list>

extern "C" {
#include "tcop/tcopprot.h"
}

namespace byoc {
namespace {

emit_log_hook_type previous_hook = nullptr;

constexpr char withheld[] = "(withheld by pg_byoc: the statement may hold a secret)";

// COPY ... (ON_ERROR ignore, LOG_VERBOSITY verbose), of PostgreSQL 17, quotes what it passes over.
bool skips_copied_row(const ErrorData* error) {
  constexpr char start[] = "skipping row due to data type incompatibility";
  return error->message_id != nullptr && strncmp(error->message_id, start, strlen(start)) == 0;
}

// True for errors whose text PostgreSQL writes from the statement's own literals: syntax and data errors that come
// neither from PL/pgSQL's RAISE nor from our own C++ (PostgreSQL itself is written in C).
bool may_quote_input(const ErrorData* error) {
  if (skips_copied_row(error)) return true;
  const int error_class = ERRCODE_TO_CATEGORY(error->sqlerrcode);
  if (error_class != ERRCODE_TO_CATEGORY(ERRCODE_SYNTAX_ERROR) && error_class != ERRCODE_DATA_EXCEPTION) return false;
  if (error->filename == nullptr) return true;
  return strcmp(error->filename, "pl_exec.c") != 0 && strstr(error->filename, ".cpp") == nullptr;
}

// True for the lines that PostgreSQL and auto_explain write of a statement. Their formats, unlike the lines themselves,
// are the same in every language.
bool reports_statement(const ErrorData* error) {
  const char* format = error->message_id;
  if (format == nullptr || strlen(format) < 2 || strcmp(format + strlen(format) - 2, "%s") != 0) return false;
  for (const char* start : {"statement: ", "duration: ", "%s %s%s%s: "}) {
    if (strncmp(format, start, strlen(start)) == 0) return true;
  }
  return false;
}

// The length of such a line up to the statement's text, such as "duration: 0.1 ms  execute q: "; 0 where it is not
// known.
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

// Where a COPY stands, within an error's context. COPY is the outermost, but for a function that runs it. NULL without
// one, and in a language that begins otherwise.
const char* copy_position(const char* context) {
  for (const char* line = context; line != nullptr; line = strchr(line, '\n')) {
    if (*line == '\n') ++line;
    if (strncmp(line, "COPY ", strlen("COPY ")) == 0) return line;
  }
  return nullptr;
}

// Takes copied data out of an error, for the client too: it is in no statement, so that terminals and the logs of build
// servers, where errors end up, have not seen it. PostgreSQL puts it behind a colon. False if nothing is being copied.
bool forget_copied_data(ErrorData* error) {
  if (error->context == nullptr) return false;
  const char* position = copy_position(error->context);
  if (position == nullptr && (debug_query_string == nullptr || strcasestr(debug_query_string, "copy") == nullptr)) {
    return false;
  }
  error->context = position == nullptr ? nullptr : pnstrdup(position, strcspn(position, ":"));
  if (may_quote_input(error)) {
    error->message = pnstrdup(error->message, strcspn(error->message, ":"));
    error->detail = nullptr;
  }
  return true;
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
  if (error->elevel >= ERROR || skips_copied_row(error)) {
    if (!forget_copied_data(error) && may_quote_input(error)) log_instead(error);
  } else if (reports_statement(error) || names_secret(error->message) || quotes_noted_statement(error->message)) {
    error->message = psprintf("%.*s%s", statement_prefix(error->message), error->message, withheld);
  }
}

// A call of the old protocol for functions has no statement; what its arguments are is not known.
bool is_bad_argument_of_call(const ErrorData* error) {
  return debug_query_string == nullptr && MyBackendType == B_BACKEND &&
         error->sqlerrcode == ERRCODE_INVALID_TEXT_REPRESENTATION;
}

bool may_hold_secret(const ErrorData* error) {
  for (const char* text :
       {debug_query_string, const_cast<const char*>(error->message), const_cast<const char*>(error->detail),
        const_cast<const char*>(error->detail_log), const_cast<const char*>(error->context)}) {
    if (names_secret(text)) return true;
  }
  return handles_secret() || refers_to_secret(debug_query_string) || quotes_noted_statement(error->message) ||
         is_bad_argument_of_call(error);
}

bool inside = false;  // a line of our own is being written

void guard(ErrorData* error) {
  if (!inside && error->output_to_server) {
    inside = true;
    PG_TRY();
    {
      if (may_hold_secret(error)) guard_line(error);
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
