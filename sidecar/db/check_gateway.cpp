#include "check_gateway.h"

#include <fmt/format.h>

#include "credential_rows.h"

namespace byocd {

namespace {

constexpr const char* dispatcher_part = "byoc.grant_dispatcher";

std::string text_or_empty(const Rows& rows, int column) {
  return rows.is_null(0, column) ? std::string() : std::string(rows.text(0, column));
}

std::optional<Problem> state_problem(const CheckTarget& target) {
  if (target.state == "ready") return std::nullopt;
  if (target.state == "shredded")
    return Problem{"organization_shredded", "The organization was shredded: its keys and credentials are destroyed.",
                   "Check another organization."};
  if (target.state == "revoked")
    return Problem{"credential_revoked", "The organization's Twilio credential was revoked, and it has no other.",
                   "Add a new one: byocd setup --org UUID."};
  if (target.state == "no_default")
    return Problem{"no_default_credential", "None of the organization's Twilio credentials is its default.",
                   fmt::format("UPDATE byoc.credentials SET is_default = true WHERE id = '{}'.", target.credential_id)};
  return Problem{"no_credential", "The organization has no Twilio credential.",
                 "Add one: byocd setup --org UUID. (If byocd may fall back to the environment's: byocd check --env.)"};
}

}  // namespace

Result<CheckTarget, Problem> CheckGateway::target() {
  const auto rows = session_.run(
      "SELECT organization, alert_phone, credential_id, state, verification_status, verification_error, has_dispatcher"
      " FROM byoc.check_subject($1::uuid)",
      {org_id_});
  if (!rows) return fail(database_problem(rows.error(), dispatcher_part));
  if (rows->count() != 1)
    return fail(Problem{"no_organization", fmt::format("Organization {} does not exist in this database.", org_id_),
                        "SELECT id, name FROM byoc.organizations lists them, as a role with byoc.grant_admin."});
  target_.organization = text_or_empty(*rows, 0);
  target_.alert_phone = text_or_empty(*rows, 1);
  target_.credential_id = text_or_empty(*rows, 2);
  target_.state = text_or_empty(*rows, 3);
  target_.verification_status = text_or_empty(*rows, 4);
  target_.verification_error = text_or_empty(*rows, 5);
  target_.has_dispatcher = rows->text(0, 6) == "t";
  return target_;
}

Result<CredentialFields, Problem> CheckGateway::credential() {
  if (auto problem = state_problem(target_)) return fail(std::move(*problem));
  auto rows = session_.run(
      "SELECT org_id, id, provider, version, fields, error FROM byoc.open_credentials(ARRAY[$1::uuid], "
      "ARRAY[$2::uuid])",
      {org_id_, target_.credential_id});
  if (!rows) return fail(database_problem(rows.error(), dispatcher_part));
  auto opened = read_credentials(*rows);
  if (opened.size() != 1)
    return fail(Problem{"credential_revoked", "The organization's Twilio credential was revoked just now.",
                        "Add a new one: byocd setup --org UUID."});
  if (opened.front().error)
    return fail(Problem{"unreadable",
                        fmt::format("The stored credential cannot be decrypted: {}.", *opened.front().error),
                        "Check the key ring (byoc.key_status), or enter the credential again."});
  return std::move(opened.front().fields);
}

Result<std::string, Problem> CheckGateway::send(const std::string& recipient, const std::string& body) {
  const auto rows =
      session_.run("SELECT byoc.send_check_sms($1::uuid, $2::text, $3::text)", {org_id_, recipient, body});
  if (!rows) return fail(database_problem(rows.error(), dispatcher_part));
  return std::string(rows->text(0, 0));
}

Result<QueuedMessage, Problem> CheckGateway::look(const std::string& id) {
  const auto rows = session_.run(
      "SELECT status, provider_sid, error_code, error_message FROM byoc.check_sms($1::uuid, $2::uuid)", {org_id_, id});
  if (!rows) return fail(database_problem(rows.error(), dispatcher_part));
  if (rows->count() != 1)
    return fail(Problem{"message_gone", fmt::format("Message {} is gone from the database.", id), "Check again."});
  return QueuedMessage{text_or_empty(*rows, 0), text_or_empty(*rows, 1), text_or_empty(*rows, 2),
                       text_or_empty(*rows, 3)};
}

std::optional<Problem> CheckGateway::obstacle() {
  if (const auto now = target(); !now) return now.error();
  if (!target_.has_dispatcher)
    return Problem{"no_dispatcher", "No byocd is connected to this database: what is queued waits.",
                   "Start it (byocd run); if it was started, its log says why it is not there."};
  if (target_.verification_status == "failed")
    return Problem{"credential_failed", fmt::format("The credential is marked failed: {}", target_.verification_error),
                   verify_again()};
  return std::nullopt;
}

Problem CheckGateway::delay() const {
  if (target_.verification_status == "pending")
    return {"not_sent", "The credential is not verified yet.", verify_again()};
  return {"not_sent", "byocd has not sent it, or has no answer yet.",
          "byoc.queue_health shows what its credential waits for."};
}

std::string CheckGateway::verify_again() const {
  return fmt::format("SELECT byoc.verify_credential('{}') has it verified again.", target_.credential_id);
}

}  // namespace byocd
