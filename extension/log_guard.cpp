#include "log_guard.h"

#include "pg_boundary.h"
#include "tenant_context.h"

#include <initializer_list>

extern "C" {
#include "tcop/tcopprot.h"
}

namespace byoc {
namespace {

emit_log_hook_type previous_hook = nullptr;

// Functions that take or return a secret, by the beginning of their names, and other names that come with one. A statement
// that uses one is not logged, nor are its parameters. PostgREST sets request.headers, with the Authorization header in it.
const char* const secret_functions[] = {"add_credential", "update_credential", "authenticate", "encrypt", "decrypt", "unseal"};
const char* const secret_names[] = {"credentials", "request.headers"};

// True when `text` calls a function whose name begins with `name`: the name's rest, a quote, white space, a parenthesis.
bool calls(const char* text, const char* name) {
    for (const char* found = strcasestr(text, name); found != nullptr; found = strcasestr(found, name)) {
        found += strlen(name);
        const char* rest = found + strspn(found, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_");
        rest += strspn(rest, "\" \t\r\n");
        if (*rest == '(') return true;
    }
    return false;
}

// True when `text` names the setting byoc.token in any of its spellings: byoc . "token".
bool names_token(const char* text) {
    constexpr char fillers[] = "\" \t\r\n";
    for (const char* found = strcasestr(text, "byoc"); found != nullptr; found = strcasestr(found + 4, "byoc")) {
        const char* rest = found + 4;
        rest += strspn(rest, fillers);
        if (*rest != '.') continue;
        rest += 1 + strspn(rest + 1, fillers);
        if (pg_strncasecmp(rest, "token", 5) == 0) return true;
    }
    return false;
}

bool names_secret(const char* text) {
    if (text == nullptr) return false;
    if (names_token(text)) return true;
    for (const char* name : secret_functions) {
        if (calls(text, name)) return true;
    }
    for (const char* name : secret_names) {
        if (strcasestr(text, name) != nullptr) return true;
    }
    return false;
}

// True for errors whose text PostgreSQL writes from the statement's own literals: syntax and data errors that do not
// come from pg_byoc's functions.
bool may_quote_input(const ErrorData* error) {
    const int error_class = ERRCODE_TO_CATEGORY(error->sqlerrcode);
    const bool input_class = error_class == ERRCODE_TO_CATEGORY(ERRCODE_SYNTAX_ERROR) ||
                             error_class == ERRCODE_DATA_EXCEPTION;
    const bool raised_by_plpgsql = error->filename != nullptr && strstr(error->filename, "pl_exec") != nullptr;
    const bool raised_by_us = error->filename != nullptr && strstr(error->filename, "extension/") != nullptr;
    return input_class && !raised_by_plpgsql && !raised_by_us;
}

// Length of what precedes the statement's text in a log line, such as "duration: 0.1 ms  execute q: ".
int prefix_length(const char* message) {
    for (const char* mark : {"statement: ", "execute ", "parse ", "bind ", "plan:"}) {
        if (const char* found = strstr(message, mark)) return static_cast<int>(found - message + strlen(mark));
    }
    return 0;
}

// Writes a line of our own instead of `error`, which goes to the client unchanged. Changing `error` itself would change
// what the client is told.
void log_instead(ErrorData* error) {
    error->output_to_server = false;
    const char* message = error->message == nullptr ? "" : error->message;
    const bool refuses_token = error->elevel >= ERROR && strncmp(message, token_refusal, strlen(token_refusal)) == 0;
    if ((names_secret(message) && !refuses_token) || may_quote_input(error)) {
        message = psprintf("%.*s(withheld by pg_byoc: the statement may hold a secret)", prefix_length(message), message);
    }
    if (error->elevel >= ERROR) {
        ereport(LOG_SERVER_ONLY, (errcode(error->sqlerrcode), errhidestmt(true), errhidecontext(true),
                                  errmsg_internal("error %s: %s", unpack_sql_state(error->sqlerrcode), message)));
    } else {
        ereport(LOG_SERVER_ONLY, (errhidestmt(true), errhidecontext(true), errmsg_internal("%s", message)));
    }
}

void guard(ErrorData* error) {
    static bool inside = false;
    if (!inside && error->output_to_server &&
        (names_secret(debug_query_string) || names_secret(error->message) || names_secret(error->detail) ||
         names_secret(error->detail_log) || names_secret(error->context))) {
        inside = true;
        log_instead(error);
        inside = false;
    }
    if (previous_hook != nullptr) previous_hook(error);
}

} // namespace

void install_log_guard() {
    previous_hook = emit_log_hook;
    emit_log_hook = guard;
}

} // namespace byoc
