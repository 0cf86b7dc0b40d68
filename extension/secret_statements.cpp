#include "secret_statements.h"

#include "pg_boundary.h"

#include <initializer_list>

extern "C" {
#include "commands/prepare.h"
#include "parser/analyze.h"
#include "tcop/tcopprot.h"
#include "utils/portal.h"
}

namespace byoc {
namespace {

constexpr char blanks[] = " \t\r\n\f\v";

// Functions that take or return a secret, by a part of their names; so app_add_credential_v2 is one, too.
const char* const secret_functions[] = {"add_credential", "update_credential", "authenticate",
                                        "encrypt",        "decrypt",           "seal"};
// Names of other things that come with a secret. PostgREST sets request.headers, with the Authorization header in it.
const char* const secret_names[] = {"credentials", "request.headers"};
// Not secret though it ends in one of them: the storage holds ciphertext and masks, and a slow claim, which reads it,
// should show its text.
const char storage_prefix[] = "organization_api_";
// How the names of the providers' secret fields end: a name that a value follows, as in JSON or in jsonb_build_object.
const char* const secret_fields[] = {"auth_token", "refresh_token", "secret", "secret_key"};

post_parse_analyze_hook_type previous_hook = nullptr;

TimestampTz noted_statement = DT_NOBEGIN;  // when the statement started that note_secret was called in last
char noted_text[256] = "";                 // the beginning of its text

const char* skip(const char* text, const char* characters) {
  return text + strspn(text, characters);
}

// The end of the comment, nested ones included, or `text` itself where none begins.
const char* skip_comment(const char* text) {
  if (strncmp(text, "--", 2) == 0) return text + strcspn(text, "\r\n");
  if (strncmp(text, "/*", 2) != 0) return text;
  int depth = 0;
  do {
    const bool opens = strncmp(text, "/*", 2) == 0;
    const bool closes = strncmp(text, "*/", 2) == 0;
    depth += opens ? 1 : closes ? -1 : 0;
    text += opens || closes ? 2 : 1;
  } while (depth > 0 && *text != '\0');
  return text;
}

// Skips what may stand between the parts of a name: white space, comments and `more` characters.
const char* skip_gap(const char* text, const char* more = "") {
  for (const char* before = nullptr; before != text;) {
    before = text;
    text = skip(skip_comment(skip(text, blanks)), more);
  }
  return text;
}

bool is_name_character(char c) {
  return isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '$' || IS_HIGHBIT_SET(c);
}

const char* skip_name(const char* text) {
  while (is_name_character(*text)) ++text;
  return text;
}

// Calls `test` with what follows each occurrence of `name`, until it says true.
template <typename Test>
bool any_after(const char* text, const char* name, Test test) {
  const size_t size = strlen(name);
  for (const char* found = strcasestr(text, name); found != nullptr; found = strcasestr(found + size, name)) {
    if (test(found + size)) return true;
  }
  return false;
}

// True when `text` contains `name` other than as the end of the storage table's.
bool names(const char* text, const char* name) {
  const ptrdiff_t prefix = strlen(storage_prefix);
  for (const char* found = strcasestr(text, name); found != nullptr; found = strcasestr(found + 1, name)) {
    const bool storage = found - text >= prefix && pg_strncasecmp(found - prefix, storage_prefix, prefix) == 0;
    if (!storage) return true;
  }
  return false;
}

bool opens_call(const char* rest) {
  rest = skip_name(rest);
  if (*rest == '"') ++rest;
  return *skip_gap(rest) == '(';
}

bool continues_to_token(const char* rest) {
  const char* part = skip_gap(rest, "\".");
  return part != rest && pg_strncasecmp(part, "token", strlen("token")) == 0;
}

bool opens_value(const char* rest) {
  const char* quoted = skip(rest, "\\\"'");
  const char* next = skip(quoted, blanks);
  return quoted != rest && (*next == ':' || *next == ',');
}

// True when the session has a prepared statement or a cursor of that name whose text names a secret.
bool is_secret_source(const char* name, size_t size) {
  char key[NAMEDATALEN] = {};
  memcpy(key, name, pg_mbcliplen(name, static_cast<int>(size), NAMEDATALEN - 1));
  if (const PreparedStatement* prepared = FetchPreparedStatement(key, false)) {
    if (names_secret(prepared->plansource->query_string)) return true;
  }
  const Portal portal = GetPortalByName(key);
  return PortalIsValid(portal) && names_secret(portal->sourceText);
}

// The same for a name as it is written: without quotes it is folded to lower case.
bool is_secret_name(const char* name, size_t size) {
  if (is_secret_source(name, size)) return true;
  char folded[NAMEDATALEN] = {};
  for (size_t i = 0; i < size && i < sizeof folded - 1; ++i) {
    folded[i] = static_cast<char>(pg_tolower(static_cast<unsigned char>(name[i])));
  }
  return is_secret_source(folded, strlen(folded));
}

bool has_literal(const char* text) {
  if (strchr(text, '\'') != nullptr) return true;
  return any_after(text, "$", [](const char* rest) { return !isdigit(static_cast<unsigned char>(*rest)); });
}

// pg_stat_statements keeps the text of SET, DO and CALL as it is, and that of others when it has to drop an entry while
// they run. It passes over what has no query identifier.
void forget_query_id(ParseState* pstate, Query* query, JumbleState* jumble) {
  if (query->queryId != 0 && pstate->p_sourcetext != nullptr && has_literal(pstate->p_sourcetext) &&
      names_secret(pstate->p_sourcetext)) {
    query->queryId = 0;
  }
  if (previous_hook != nullptr) previous_hook(pstate, query, jumble);
}

}  // namespace

bool names_secret(const char* text) {
  if (text == nullptr) return false;
  for (const char* name : secret_functions) {
    if (any_after(text, name, opens_call)) return true;
  }
  for (const char* name : secret_fields) {
    if (any_after(text, name, opens_value)) return true;
  }
  for (const char* name : secret_names) {
    if (names(text, name)) return true;
  }
  // U&"..." is a name written in escapes: rather say too little than decode it.
  return any_after(text, "byoc", continues_to_token) || strcasestr(text, "u&\"") != nullptr;
}

bool refers_to_secret(const char* statement) {
  if (statement == nullptr) return false;
  bool refers = false;
  for (const char* verb : {"execute", "fetch", "move"}) refers = refers || strcasestr(statement, verb) != nullptr;
  if (!refers) return false;
  if (strstr(statement, "\"\"") != nullptr) return true;  // a name with a quote in it
  for (const char* at = statement; *at != '\0';) {
    const bool quoted = *at == '"';
    const char* end = quoted ? at + 1 + strcspn(at + 1, "\"") : skip_name(at);
    const char* begin = quoted ? at + 1 : at;
    if (end > begin && is_secret_name(begin, end - begin)) return true;
    // What is between quotes is looked through again: within a string literal they mean nothing.
    at = quoted || end == at ? at + 1 : end;
  }
  return false;
}

void note_secret() {
  const TimestampTz statement = GetCurrentStatementStartTimestamp();
  if (statement == noted_statement) return;
  noted_statement = statement;
  strlcpy(noted_text, debug_query_string == nullptr ? "" : debug_query_string, sizeof noted_text);
}

bool handles_secret() {
  return noted_statement == GetCurrentStatementStartTimestamp();
}

bool quotes_noted_statement(const char* line) {
  return line != nullptr && noted_text[0] != '\0' && strstr(line, noted_text) != nullptr;
}

void install_statistics_guard() {
  previous_hook = post_parse_analyze_hook;
  post_parse_analyze_hook = forget_query_id;
}

}  // namespace byoc
