#include "pg_gateway.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

#include "../log.h"
#include "accepted_params.h"
#include "call_rows.h"
#include "credential_rows.h"
#include "listing_json.h"
#include "outcome_json.h"
#include "typed.h"

namespace byocd {

namespace {

constexpr Statement claim_statement{
    "claim_jobs",
    "SELECT claim_id, org_id, id, provider, credential_id, credential_version, to_number, body, attempt,"
    " validity_seconds, lane FROM byoc.claim_jobs($1::uuid, $2::int, $3::interval, $4::uuid[], $5::int[], $6::int)",
    Format::text, Format::binary};
constexpr Statement sleep_statement{"dispatcher_sleep", "SELECT byoc.dispatcher_sleep($1::uuid[])"};
constexpr Statement open_statement{
    "open_credentials",
    "SELECT org_id, id, provider, version, fields, error FROM byoc.open_credentials($1::uuid[], $2::uuid[])"};
constexpr Statement record_statement{"record_outcomes", "SELECT byoc.record_outcomes($1::jsonb)"};
constexpr Statement accepted_statement{
    "record_accepted",
    "SELECT byoc.record_accepted($1::uuid[], $2::uuid[], $3::uuid[], $4::smallint[], $5::text[], $6::text[],"
    " $7::smallint[], $8::int[])",
    Format::binary};
constexpr Statement heartbeat_statement{"heartbeat", "SELECT byoc.heartbeat($1::uuid, $2::interval)"};
constexpr Statement rescue_statement{"rescue_expired", "SELECT byoc.rescue_expired()"};
constexpr Statement seal_statement{"seal_audit_log", "SELECT byoc.seal_audit_log()"};
constexpr Statement claim_verifications_statement{
    "claim_verifications",
    "SELECT org_id, id, provider, version FROM byoc.claim_verifications($1::uuid, $2::int, $3::interval)"};
constexpr Statement record_verification_statement{
    "record_verification", "SELECT byoc.record_verification($1::uuid, $2::uuid, $3::int, $4::text, $5::text)"};
constexpr Statement claim_reconciliations_statement{
    "claim_reconciliations",
    "SELECT org_id, credential_id, credential_version, provider, account, to_number,"
    " extract(epoch FROM since)::bigint, read_at FROM byoc.claim_reconciliations($1::int, $2::interval)"};
constexpr Statement record_reconciliation_statement{
    "record_reconciliation",
    "SELECT byoc.record_reconciliation($1::uuid, $2::text, $3::text, $4::timestamptz, $5::timestamptz, $6::jsonb,"
    " $7::text, $8::text)"};

constexpr Statement claim_calls_statement{
    "claim_calls",
    "SELECT org_id, id, claim_id, credential_type, credential_id, credential_version, operation, subject, payload,"
    " attempt, created_at FROM byoc.claim_calls($1::int, $2::interval, $3::int)"};
constexpr Statement record_calls_statement{"record_calls", "SELECT byoc.record_calls($1::jsonb)"};

int first_integer(Rows& rows) {
  return rows.count() == 1 && !rows.is_null(0, 0) ? rows.integer(0, 0) : 0;
}

std::optional<int> optional_integer(const Rows& rows, int row, int column) {
  if (rows.is_null(row, column)) return std::nullopt;
  return rows.integer(row, column);
}

std::vector<ClaimedJob> read_jobs(const Rows& rows, const std::string& dispatcher, Clock::time_point leased_until) {
  std::vector<ClaimedJob> jobs;
  jobs.reserve(static_cast<std::size_t>(rows.count()));
  std::shared_ptr<const Claim> claim;
  for (int row = 0; row < rows.count(); ++row) {
    if (std::string id = rows.uuid(row, 0); !claim || claim->id != id)
      claim = std::make_shared<const Claim>(Claim{std::move(id), dispatcher, leased_until});
    ClaimedJob job;
    job.claim = claim;
    job.org_id = rows.uuid(row, 1);
    job.id = rows.uuid(row, 2);
    job.provider = rows.text(row, 3);
    if (!rows.is_null(row, 4)) job.credential_id = rows.uuid(row, 4);
    job.credential_version = rows.integer(row, 5);
    job.to_number = rows.text(row, 6);
    job.body = rows.text(row, 7);
    job.attempt = rows.integer(row, 8);
    job.validity_seconds = optional_integer(rows, row, 9);
    job.lane = rows.uuid(row, 10);
    jobs.push_back(std::move(job));
  }
  return jobs;
}

std::vector<VerificationJob> read_verifications(const Rows& rows) {
  std::vector<VerificationJob> jobs;
  for (int row = 0; row < rows.count(); ++row)
    jobs.push_back({std::string(rows.text(row, 0)), std::string(rows.text(row, 1)), std::string(rows.text(row, 2)),
                    rows.integer(row, 3)});
  return jobs;
}

std::vector<ReconciliationJob> read_reconciliations(const Rows& rows) {
  std::vector<ReconciliationJob> jobs;
  for (int row = 0; row < rows.count(); ++row) {
    ReconciliationJob job;
    job.org_id = rows.text(row, 0);
    job.credential_id = rows.text(row, 1);
    job.credential_version = rows.integer(row, 2);
    job.provider = rows.text(row, 3);
    job.account = rows.text(row, 4);
    job.to_number = rows.text(row, 5);
    job.since = std::chrono::sys_seconds(std::chrono::seconds(rows.long_integer(row, 6)));
    job.read_at = rows.text(row, 7);
    jobs.push_back(std::move(job));
  }
  return jobs;
}

// An array literal; UUIDs and numbers need no quoting in one.
template <class Items, class Text>
std::string array_literal(const Items& items, Text text_of) {
  std::string literal = "{";
  for (const auto& item : items) {
    if (literal.size() > 1) literal += ',';
    literal += text_of(item);
  }
  return literal + "}";
}

}  // namespace

PgGateway::PgGateway(Loop& loop, Options options)
    : options_(std::move(options)),
      dispatch_(loop, "dispatch", options_.direct),
      record_(loop, "record", options_.work),
      dispatch_handshake_(dispatch_, loop, "dispatch",
                          {true, options_.new_identity, options_.poll_interval, options_.fallback}),
      record_handshake_(record_, loop, "record", {.fallback = options_.fallback}) {}

void PgGateway::set_handlers(Handlers handlers) {
  const auto for_connection = [&](const char* label, Handshake& handshake) {
    Connection::Handlers own;
    own.on_session = [&handshake] { handshake.run(); };
    own.on_ready = [label, changed = handlers.on_change] {
      log::info("database connection '{}' is ready", label);
      changed();
    };
    own.on_lost = [&handshake, changed = handlers.on_change] {
      handshake.reset();
      changed();
    };
    own.on_notification = [notify = handlers.on_notify](const std::string&, const std::string&) { notify(); };
    return own;
  };
  dispatch_.set_handlers(for_connection("dispatch", dispatch_handshake_));
  record_.set_handlers(for_connection("record", record_handshake_));
}

void PgGateway::open() {
  dispatch_.open();
  record_.open();
}

void PgGateway::close() {
  dispatch_.close();
  record_.close();
}

std::string PgGateway::lease_text() const {
  return fmt::format("{} milliseconds", options_.lease.count());
}

void PgGateway::claim_jobs(const ClaimRequest& request, DbCallback<std::vector<ClaimedJob>> callback) {
  const std::string dispatcher = options_.identity();
  const auto leased_until = Clock::now() + options_.lease;
  dispatch_.query(claim_statement,
                  {dispatcher, std::to_string(request.slots), lease_text(),
                   array_literal(request.rooms, [](const LaneRoom& room) { return room.lane; }),
                   array_literal(request.rooms, [](const LaneRoom& room) { return std::to_string(room.room); }),
                   std::to_string(request.room)},
                  typed<std::vector<ClaimedJob>>(std::move(callback), [dispatcher, leased_until](Rows& rows) {
                    return read_jobs(rows, dispatcher, leased_until);
                  }));
}

void PgGateway::announce_sleep(const std::vector<std::string>& full_lanes,
                               DbCallback<std::optional<std::chrono::milliseconds>> callback) {
  using Answer = std::optional<std::chrono::milliseconds>;
  dispatch_.query(sleep_statement, {array_literal(full_lanes, [](const std::string& lane) { return lane; })},
                  typed<Answer>(std::move(callback), [](Rows& rows) -> Answer {
                    if (rows.count() != 1 || rows.is_null(0, 0)) return std::nullopt;
                    return std::chrono::milliseconds(rows.integer(0, 0));
                  }));
}

void PgGateway::open_credentials(const std::vector<CredentialRef>& refs,
                                 DbCallback<std::vector<OpenedCredential>> callback) {
  record_.query(open_statement,
                {array_literal(refs, [](const CredentialRef& ref) { return ref.org_id; }),
                 array_literal(refs, [](const CredentialRef& ref) { return ref.id; })},
                typed<std::vector<OpenedCredential>>(std::move(callback), read_credentials));
}

void PgGateway::record_outcomes(const std::vector<JobOutcome>& outcomes, DbCallback<int> callback) {
  std::vector<JobOutcome> others;
  std::remove_copy_if(outcomes.begin(), outcomes.end(), std::back_inserter(others), is_plainly_accepted);
  if (others.size() == outcomes.size()) return record_as_json(others, std::move(callback));
  record_.query(accepted_statement, accepted_params(outcomes),
                typed<int>(others.empty() ? std::move(callback) : record_then(std::move(others), std::move(callback)),
                           first_integer));
}

void PgGateway::record_as_json(const std::vector<JobOutcome>& outcomes, DbCallback<int> callback) {
  record_.query(record_statement, {outcomes_to_json(outcomes)}, typed<int>(std::move(callback), first_integer));
}

DbCallback<int> PgGateway::record_then(std::vector<JobOutcome> others, DbCallback<int> callback) {
  return [this, others = std::move(others), callback = std::move(callback)](Result<int, DbError> accepted) {
    if (!accepted) return callback(std::move(accepted));
    record_as_json(others, [callback, count = *accepted](Result<int, DbError> recorded) {
      if (recorded) *recorded += count;
      callback(std::move(recorded));
    });
  };
}

void PgGateway::heartbeat(const std::string& dispatcher, DbCallback<int> callback) {
  record_.query(heartbeat_statement, {dispatcher, lease_text()}, typed<int>(std::move(callback), first_integer));
}

void PgGateway::rescue_expired(DbCallback<int> callback) {
  record_.query(rescue_statement, {}, typed<int>(std::move(callback), first_integer));
}

void PgGateway::seal_audit_log(DbCallback<int> callback) {
  record_.query(seal_statement, {}, typed<int>(std::move(callback), first_integer));
}

void PgGateway::claim_verifications(int max_count, DbCallback<std::vector<VerificationJob>> callback) {
  record_.query(claim_verifications_statement, {options_.identity(), std::to_string(max_count), lease_text()},
                typed<std::vector<VerificationJob>>(std::move(callback), read_verifications));
}

void PgGateway::record_verification(const VerificationJob& job, const std::string& status,
                                    const std::optional<std::string>& error, DbCallback<Done> callback) {
  record_.query(record_verification_statement, {job.org_id, job.id, std::to_string(job.version), status, error},
                typed<Done>(std::move(callback), [](Rows&) { return Done{}; }));
}

void PgGateway::claim_reconciliations(int max_count, DbCallback<std::vector<ReconciliationJob>> callback) {
  record_.query(claim_reconciliations_statement, {std::to_string(max_count), lease_text()},
                typed<std::vector<ReconciliationJob>>(std::move(callback), read_reconciliations));
}

void PgGateway::record_reconciliation(const ReconciliationJob& job, const MessageListing& listing,
                                      DbCallback<int> callback) {
  record_.query(record_reconciliation_statement,
                {job.org_id, job.account, job.to_number, utc_text(job.since), job.read_at,
                 messages_to_json(listing.messages), to_string(listing.state), storable_text(listing.problem)},
                typed<int>(std::move(callback), first_integer));
}

void PgGateway::claim_calls(int max_count, int per_credential, DbCallback<std::vector<ClaimedCall>> callback) {
  record_.query(claim_calls_statement, {std::to_string(max_count), lease_text(), std::to_string(per_credential)},
                typed<std::vector<ClaimedCall>>(std::move(callback), read_calls));
}

void PgGateway::record_calls(const std::vector<CallRecord>& records, DbCallback<int> callback) {
  record_.query(record_calls_statement, {calls_to_json(records)}, typed<int>(std::move(callback), first_integer));
}

}  // namespace byocd
