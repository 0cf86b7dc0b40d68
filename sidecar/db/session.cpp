#include "session.h"

#include <libpq-fe.h>

#include <array>

#include "api_version.h"

namespace byocd {

namespace {

void ignore_notice(void*, const char*) {}

}  // namespace

void Session::Finish::operator()(pg_conn* connection) const {
  PQfinish(connection);
}

Result<Session, DbError> Session::open(const std::string& conninfo, const char* name) {
  // connect_timeout stands before dbname, so that a connection string can set its own.
  const std::array<const char*, 6> keys{"connect_timeout", "tcp_user_timeout", "dbname",
                                        "client_encoding", "application_name", nullptr};
  const std::array<const char*, 6> values{"10", "20000", conninfo.c_str(), "UTF8", name, nullptr};
  Session session(PQconnectdbParams(keys.data(), values.data(), 1));
  if (PQstatus(session.connection_.get()) != CONNECTION_OK)
    return fail(DbError{"", first_line(PQerrorMessage(session.connection_.get())), "", true});
  PQsetNoticeProcessor(session.connection_.get(), &ignore_notice, nullptr);
  const auto versions = session.run(api_versions_query);
  if (!versions) return fail(versions.error());
  if (const auto problem = find_version_problem(*versions)) return fail(DbError{"", *problem, "", false});
  return session;
}

QueryResult Session::run(const char* sql, const std::vector<std::optional<std::string>>& params) {
  std::vector<const char*> values;
  for (const auto& param : params) values.push_back(param ? param->c_str() : nullptr);
  PGresult* raw = PQexecParams(connection_.get(), sql, static_cast<int>(values.size()), nullptr, values.data(), nullptr,
                               nullptr, 0);
  Rows rows(raw);
  const auto status = PQresultStatus(raw);
  if (status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK) return rows;
  const bool lost = PQstatus(connection_.get()) != CONNECTION_OK;
  if (raw == nullptr || lost) return fail(DbError{"", first_line(PQerrorMessage(connection_.get())), "", true});
  return fail(DbError{first_line(PQresultErrorField(raw, PG_DIAG_SQLSTATE)),
                      first_line(PQresultErrorField(raw, PG_DIAG_MESSAGE_PRIMARY)),
                      first_line(PQresultErrorField(raw, PG_DIAG_MESSAGE_HINT)), false});
}

}  // namespace byocd
