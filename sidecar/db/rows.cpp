#include "rows.h"

#include <libpq-fe.h>
#include <openssl/crypto.h>

#include <charconv>

#include "../uuid.h"

namespace byocd {

namespace {

// A signed integer of that many bytes.
std::int64_t big_endian(std::string_view bytes) {
  std::int64_t value = !bytes.empty() && (bytes[0] & 0x80) != 0 ? -1 : 0;
  for (const char byte : bytes)
    value = static_cast<std::int64_t>(static_cast<std::uint64_t>(value) << 8 | static_cast<unsigned char>(byte));
  return value;
}

}  // namespace

std::string DbError::text() const {
  std::string text = message;
  if (!sqlstate.empty()) text += " (SQLSTATE " + sqlstate + ")";
  if (!hint.empty()) text += "; hint: " + hint;
  return text;
}

bool DbError::transient() const {
  if (connection_lost) return true;
  const std::string_view code_class = std::string_view(sqlstate).substr(0, 2);
  for (const std::string_view each : {"08", "40", "53", "55", "57", "58"})
    if (code_class == each) return true;
  return false;
}

Rows::Rows(pg_result* result) : result_(result) {}

int Rows::count() const {
  return result_ ? PQntuples(result_.get()) : 0;
}

int Rows::columns() const {
  return result_ ? PQnfields(result_.get()) : 0;
}

std::string_view Rows::name(int column) const {
  return PQfname(result_.get(), column);
}

bool Rows::is_null(int row, int column) const {
  return PQgetisnull(result_.get(), row, column) != 0;
}

std::string_view Rows::text(int row, int column) const {
  return {PQgetvalue(result_.get(), row, column), static_cast<std::size_t>(PQgetlength(result_.get(), row, column))};
}

int Rows::integer(int row, int column) const {
  return static_cast<int>(long_integer(row, column));
}

std::string Rows::uuid(int row, int column) const {
  const auto value = text(row, column);
  return is_binary(column) ? uuid_text(value) : std::string(value);
}

bool Rows::is_binary(int column) const {
  return PQfformat(result_.get(), column) == 1;
}

std::int64_t Rows::long_integer(int row, int column) const {
  const auto digits = text(row, column);
  if (is_binary(column)) return big_endian(digits);
  std::int64_t value = 0;
  std::from_chars(digits.data(), digits.data() + digits.size(), value);
  return value;
}

void Rows::cleanse() {
  for (int row = 0; row < count(); ++row)
    for (int column = 0; column < columns(); ++column)
      if (!is_null(row, column))
        OPENSSL_cleanse(PQgetvalue(result_.get(), row, column),
                        static_cast<std::size_t>(PQgetlength(result_.get(), row, column)));
}

void Rows::Clear::operator()(pg_result* result) const {
  PQclear(result);
}

std::string first_line(const char* message_or_null) {
  const std::string_view all = message_or_null != nullptr ? message_or_null : "";
  return std::string(all.substr(0, all.find('\n')));
}

}  // namespace byocd
