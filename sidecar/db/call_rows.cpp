#include "call_rows.h"

#include <nlohmann/json.hpp>

#include "../json.h"
#include "outcome_json.h"

namespace byocd {

namespace {

using nlohmann::json;

json text_or_null(const std::optional<std::string>& text) {
  return text ? json(storable_text(*text)) : json();
}

json to_json(const CallRecord& record) {
  const CallOutcome& outcome = record.outcome;
  json object = {{"org_id", record.org_id},
                 {"id", record.id},
                 {"claim_id", record.claim_id},
                 {"outcome", to_string(outcome.kind)},
                 {"error_code", text_or_null(outcome.error_code)},
                 {"error_message", text_or_null(outcome.error_message)}};
  if (outcome.http_status) object["http_status"] = *outcome.http_status;
  if (outcome.retry_after) object["retry_ms"] = outcome.retry_after->count();
  if (outcome.result) object["result"] = parse_json(*outcome.result);
  return object;
}

}  // namespace

std::vector<ClaimedCall> read_calls(const Rows& rows) {
  std::vector<ClaimedCall> calls;
  for (int row = 0; row < rows.count(); ++row) {
    ClaimedCall call;
    call.org_id = rows.text(row, 0);
    call.id = rows.text(row, 1);
    call.claim_id = rows.text(row, 2);
    call.credential_type = rows.text(row, 3);
    if (!rows.is_null(row, 4)) call.credential_id = std::string(rows.text(row, 4));
    call.credential_version = rows.integer(row, 5);
    call.operation = rows.text(row, 6);
    call.subject = rows.text(row, 7);
    call.payload = rows.text(row, 8);
    call.attempt = rows.integer(row, 9);
    call.created_at = std::chrono::sys_seconds(std::chrono::seconds(rows.long_integer(row, 10)));
    calls.push_back(std::move(call));
  }
  return calls;
}

std::string calls_to_json(const std::vector<CallRecord>& records) {
  json all = json::array();
  for (const auto& record : records) all.push_back(to_json(record));
  return dump_json(all);
}

}  // namespace byocd
