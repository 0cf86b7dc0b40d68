// The surroundings of a command that checks an account.
#pragma once

#include "../http/caller.h"
#include "checker.h"

namespace byocd {

/// Asks by `caller`, which must outlive it, and waits by sleeping.
CheckTerms blocking_terms(HttpCaller& caller);

/// Whether standard output is a terminal that shows colours, and nobody asked for none (NO_COLOR).
bool wants_colors();

}  // namespace byocd
