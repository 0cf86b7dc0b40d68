// A query's rows, made by hand.
#pragma once

#include <libpq-fe.h>

#include <optional>
#include <string>
#include <vector>

#include "db/rows.h"

namespace byocd {

/// Nothing stands for NULL. `format`: libpq's, 0 for text and 1 for binary.
inline Rows rows_of(const std::vector<std::vector<std::optional<std::string>>>& values, int format = 0) {
  PGresult* result = PQmakeEmptyPGresult(nullptr, PGRES_TUPLES_OK);
  char name[] = "column";
  std::vector<PGresAttDesc> columns(values.empty() ? 1 : values[0].size(),
                                    PGresAttDesc{name, 0, 0, format, 25, -1, -1});
  PQsetResultAttrs(result, static_cast<int>(columns.size()), columns.data());
  for (std::size_t row = 0; row < values.size(); ++row)
    for (std::size_t column = 0; column < values[row].size(); ++column) {
      const auto& value = values[row][column];
      std::string text = value.value_or("");
      PQsetvalue(result, static_cast<int>(row), static_cast<int>(column), value ? text.data() : nullptr,
                 value ? static_cast<int>(text.size()) : -1);
    }
  return Rows(result);
}

}  // namespace byocd
