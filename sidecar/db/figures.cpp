#include "figures.h"

#include <charconv>

namespace byocd {

Figures read_figures(const Rows& rows, int row, int first_column) {
  Figures figures;
  for (int column = first_column; column < rows.columns(); ++column) {
    if (rows.is_null(row, column)) continue;
    const auto digits = rows.text(row, column);
    double value = 0;
    std::from_chars(digits.data(), digits.data() + digits.size(), value);
    figures.emplace(rows.name(column), value);
  }
  return figures;
}

double figure(const Figures& figures, std::string_view name) {
  const auto found = figures.find(name);
  return found != figures.end() ? found->second : 0;
}

}  // namespace byocd
