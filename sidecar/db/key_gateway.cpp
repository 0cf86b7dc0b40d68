#include "key_gateway.h"

#include <charconv>

namespace byocd {

namespace {

std::int64_t to_number(std::string_view digits) {
  std::int64_t value = 0;
  std::from_chars(digits.data(), digits.data() + digits.size(), value);
  return value;
}

}  // namespace

Result<std::int64_t, DbError> PgKeyGateway::number(const char* sql,
                                                   const std::vector<std::optional<std::string>>& params) {
  const auto rows = session_.run(sql, params);
  if (!rows) return fail(rows.error());
  return to_number(rows->text(0, 0));
}

Result<std::int64_t, DbError> PgKeyGateway::keys_to_rewrap() {
  return number("SELECT count(*) FROM byoc.key_status WHERE needs_rewrap");
}

Result<std::int64_t, DbError> PgKeyGateway::rewrap() {
  return number("SELECT byoc.rewrap_keys()");
}

Result<std::vector<PendingOrganization>, DbError> PgKeyGateway::organizations_to_reencrypt(
    const std::optional<std::string>& org_id) {
  // A named organization without anything to do is still listed: its call tells whether it exists.
  const auto rows = org_id ? session_.run(
                                 "SELECT $1::uuid, coalesce(sum(credentials_to_reencrypt), 0) FROM byoc.key_status "
                                 "WHERE org_id = $1::uuid",
                                 {org_id})
                           : session_.run(
                                 "SELECT org_id, sum(credentials_to_reencrypt) FROM byoc.key_status"
                                 " WHERE credentials_to_reencrypt > 0 GROUP BY org_id ORDER BY org_id");
  if (!rows) return fail(rows.error());
  std::vector<PendingOrganization> pending;
  for (int row = 0; row < rows->count(); ++row)
    pending.push_back({std::string(rows->text(row, 0)), to_number(rows->text(row, 1))});
  return pending;
}

Result<std::int64_t, DbError> PgKeyGateway::reencrypt(const std::string& org_id) {
  return number("SELECT byoc.reencrypt($1::uuid)", {org_id});
}

}  // namespace byocd
