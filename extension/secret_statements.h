// Which statements may hold a secret: by their text, and by what they turn out to do.
#pragma once

namespace byoc {

// True when the text of a statement, or a line that quotes one, uses a name that a secret comes with: a function that
// takes or returns one, byoc.credentials, byoc.token, a secret field of a credential. NULL holds none.
bool names_secret(const char* text);

// True when the session's statement EXECUTEs, FETCHes from or MOVEs in what names a secret.
bool refers_to_secret(const char* statement);

// Says that the running statement handles a secret, whatever its text says: a function of the user's own, which calls
// one of ours, has any name.
void note_secret();

// True when note_secret was called in the running statement.
bool handles_secret();

// True when `line` quotes the statement that note_secret was called in last: its plan may be logged later, when the
// portal is closed.
bool quotes_noted_statement(const char* line);

// Keeps statements that hold a secret as a literal out of pg_stat_statements. Called once at load.
void install_statistics_guard();

}  // namespace byoc
