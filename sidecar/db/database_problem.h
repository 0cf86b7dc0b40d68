// What an error of the database means to who typed a command.
#pragma once

#include "../providers/problem.h"
#include "rows.h"

namespace byocd {

/// `part`: the byoc.grant_... that the role needs.
Problem database_problem(const DbError& error, const char* part);

}  // namespace byocd
