#include "oauth_gateway.h"

#include <nlohmann/json.hpp>

#include "../json.h"
#include "typed.h"

namespace byocd {

namespace {

constexpr Statement take_statement{
    "take_oauth_state",
    "SELECT org_id, provider, client_id, client_secret FROM byoc.take_oauth_state($1::bytea, $2::bytea)"};
constexpr Statement add_statement{"add_credential_by_oauth",
                                  "SELECT byoc.add_credential_by_oauth($1::bytea, $2::text)"};
// Longer than a request may take.
constexpr Statement claim_revocations_statement{
    "claim_provider_revocations",
    "SELECT org_id, id, provider, refresh_token FROM byoc.claim_provider_revocations($1::int, '20 minutes')"};
constexpr Statement record_revocation_statement{
    "record_provider_revocation", "SELECT byoc.record_provider_revocation($1::uuid, $2::uuid, $3::boolean)"};

std::string text_or_empty(const Rows& rows, int row, int column) {
  return rows.is_null(row, column) ? std::string() : std::string(rows.text(row, column));
}

}  // namespace

std::string bytea(std::string_view bytes) {
  std::string text = "\\x";
  for (const char byte : bytes) {
    text += "0123456789abcdef"[static_cast<unsigned char>(byte) >> 4];
    text += "0123456789abcdef"[static_cast<unsigned char>(byte) & 15];
  }
  return text;
}

void PgOAuthGateway::take_state(const std::string& state_hash, const std::string& browser_hash,
                                DbCallback<std::optional<TakenState>> callback) {
  using Answer = std::optional<TakenState>;
  connection_.query(take_statement, {bytea(state_hash), bytea(browser_hash)},
                    typed<Answer>(std::move(callback), [](Rows& rows) -> Answer {
                      if (rows.count() == 0) return std::nullopt;
                      TakenState taken{std::string(rows.text(0, 0)), std::string(rows.text(0, 1)),
                                       std::string(rows.text(0, 2)), SecretString(text_or_empty(rows, 0, 3))};
                      rows.cleanse();
                      return taken;
                    }));
}

void PgOAuthGateway::add_credential(const std::string& state_hash, const SecretString& refresh_token,
                                    const std::string& account, DbCallback<std::string> callback) {
  nlohmann::json fields{{"refresh_token", refresh_token.reveal()}};
  if (!account.empty()) fields["account"] = account;
  connection_.query(add_statement, {bytea(state_hash), dump_json(fields)},
                    typed<std::string>(std::move(callback), [](Rows& rows) { return text_or_empty(rows, 0, 0); }));
}

void PgOAuthGateway::claim_revocations(int max_count, DbCallback<std::vector<Revocation>> callback) {
  connection_.query(claim_revocations_statement, {std::to_string(max_count)},
                    typed<std::vector<Revocation>>(std::move(callback), [](Rows& rows) {
                      std::vector<Revocation> revocations;
                      for (int row = 0; row < rows.count(); ++row)
                        revocations.push_back({std::string(rows.text(row, 0)), std::string(rows.text(row, 1)),
                                               std::string(rows.text(row, 2)), SecretString(rows.text(row, 3))});
                      rows.cleanse();
                      return revocations;
                    }));
}

void PgOAuthGateway::record_revocation(const std::string& org_id, const std::string& id, bool revoked,
                                       DbCallback<Done> callback) {
  connection_.query(record_revocation_statement, {org_id, id, revoked ? "true" : "false"},
                    typed<Done>(std::move(callback), [](Rows&) { return Done{}; }));
}

}  // namespace byocd
