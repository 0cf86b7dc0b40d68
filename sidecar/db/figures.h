// Rows of numbers, as byoc.queue_totals() and its like answer them.
#pragma once

#include <map>
#include <string>

#include "rows.h"

namespace byocd {

/// By the names of the columns; those that are NULL are missing.
using Figures = std::map<std::string, double, std::less<>>;

/// One row's columns from `first_column` on.
Figures read_figures(const Rows& rows, int row, int first_column = 0);

/// 0 for what is missing.
double figure(const Figures& figures, std::string_view name);

}  // namespace byocd
