// What a query answered.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "../result.h"

struct pg_result;

namespace byocd {

/// Why a query or a connection failed.
struct DbError {
  /// Five characters, or empty when the failure has none (a lost connection).
  std::string sqlstate;
  std::string message;
  std::string hint;
  /// The statement may or may not have been carried out; the connection is being made anew.
  bool connection_lost = false;
  /// The COLUMN of the error: what of the call was wrong, where the function says so.
  std::string column = {};

  /// One line for the log.
  std::string text() const;
  /// Whether the same call can succeed later without anybody changing anything (SQLSTATE classes 08, 40, 53, 55, 57,
  /// 58).
  bool transient() const;
};

/// Rows, each column in text or in binary. Indexes are not checked.
class Rows {
 public:
  Rows() = default;
  explicit Rows(pg_result* result);

  int count() const;
  int columns() const;
  std::string_view name(int column) const;
  bool is_null(int row, int column) const;
  std::string_view text(int row, int column) const;
  /// In its usual 36 characters; of a column of type uuid.
  std::string uuid(int row, int column) const;
  /// 0 when the text is not a number.
  int integer(int row, int column) const;
  std::int64_t long_integer(int row, int column) const;
  /// Wipes the values, for results that hold secrets. libpq's own receive buffer is not reachable: it is overwritten by
  /// the next answers on that connection.
  void cleanse();

 private:
  bool is_binary(int column) const;

  struct Clear {
    void operator()(pg_result* result) const;
  };
  std::unique_ptr<pg_result, Clear> result_;
};

/// libpq's messages are lines: the first says what happened, later ones guess, or show the statement.
std::string first_line(const char* message_or_null);

using QueryResult = Result<Rows, DbError>;

}  // namespace byocd
