#include "receipt_gateway.h"

#include <nlohmann/json.hpp>

#include "../json.h"
#include "../log.h"
#include "array_param.h"
#include "crypto/base64.h"
#include "crypto/receipt_token.h"
#include "typed.h"

namespace byocd {

namespace {

using nlohmann::json;

constexpr Statement key_statement{"receipt_key", "SELECT encode(byoc.receipt_key(), 'base64')"};
constexpr Statement open_receipts_statement{
    "open_receipts",
    "SELECT ordinal, org_id, id, attempt, credential_id, credential_version FROM byoc.open_receipts($1::text[])"};
constexpr Statement record_receipts_statement{"record_receipts", "SELECT unnest(byoc.record_receipts($1::jsonb))"};
constexpr Statement expect_statement{
    "expect_receipts", "SELECT byoc.expect_receipts($1::uuid[], $2::uuid[], $3::boolean[])", Format::binary};
constexpr Statement claim_status_checks_statement{
    "claim_status_checks",
    "SELECT org_id, id, attempt, provider_sid, provider, credential_id, credential_version"
    " FROM byoc.claim_status_checks($1::int)"};
constexpr Statement inbound_credential_statement{"inbound_credential",
                                                 "SELECT org_id, version FROM byoc.inbound_credential($1::uuid)"};
constexpr Statement record_inbound_statement{
    "record_inbound",
    "SELECT byoc.record_inbound($1::uuid, $2::uuid, $3::text, $4::text, $5::text, $6::text, $7::text)"};
constexpr Statement refusals_statement{"note_refusals", "SELECT byoc.note_refusals($1::uuid[], $2::uuid[])"};

// An array literal of values that need no quotes (UUIDs, tokens, booleans).
template <class Element, class Text>
std::string array_of(const std::vector<Element>& elements, Text text) {
  std::string literal = "{";
  for (const auto& element : elements) {
    if (literal.size() > 1) literal += ',';
    literal += text(element);
  }
  return literal + "}";
}

std::string to_json(const std::vector<Receipt>& receipts) {
  json array = json::array();
  for (const auto& receipt : receipts) {
    const ReceiptFacts& facts = receipt.facts;
    json object{{"org_id", receipt.org_id}, {"id", receipt.id},         {"attempt", receipt.attempt},
                {"status", facts.status},   {"settle", receipt.settle}, {"provider_sid", facts.provider_sid}};
    if (facts.error_code) object["error_code"] = *facts.error_code;
    if (facts.from_number) object["from_number"] = *facts.from_number;
    if (facts.at) object["at"] = *facts.at;
    array.push_back(std::move(object));
  }
  return dump_json(array);
}

SecretString read_key(Rows& rows) {
  SecretString key;
  std::uint8_t bytes[byoc::receipt_key_size];
  if (rows.count() == 1 && byoc::base64_decode_exact(rows.text(0, 0), bytes, sizeof bytes))
    key = SecretString(std::string_view(reinterpret_cast<const char*>(bytes), sizeof bytes));
  OPENSSL_cleanse(bytes, sizeof bytes);
  rows.cleanse();
  return key;
}

}  // namespace

PgReceiptGateway::PgReceiptGateway(Loop& loop, const Database& database,
                                   std::shared_ptr<const OpenedCredential> fallback)
    : connection_(loop, "receipts", database),
      handshake_(connection_, loop, "receipts", {.fallback = std::move(fallback)}) {}

void PgReceiptGateway::set_handler(std::function<void()> on_change) {
  Connection::Handlers handlers;
  handlers.on_session = [this] { handshake_.run(); };
  handlers.on_ready = [on_change] {
    log::info("database connection 'receipts' is ready");
    on_change();
  };
  handlers.on_lost = [this, on_change] {
    handshake_.reset();
    on_change();
  };
  connection_.set_handlers(std::move(handlers));
}

void PgReceiptGateway::receipt_key(DbCallback<SecretString> callback) {
  connection_.query(key_statement, {}, typed<SecretString>(std::move(callback), read_key));
}

void PgReceiptGateway::open_receipts(const std::vector<std::string>& tokens,
                                     DbCallback<std::vector<std::optional<ReceiptTarget>>> callback) {
  using Answer = std::vector<std::optional<ReceiptTarget>>;
  connection_.query(open_receipts_statement, {array_of(tokens, [](const std::string& token) { return token; })},
                    typed<Answer>(std::move(callback), [count = tokens.size()](Rows& rows) {
                      Answer answer(count);
                      for (int row = 0; row < rows.count(); ++row) {
                        ReceiptTarget target{std::string(rows.text(row, 1)), std::string(rows.text(row, 2)),
                                             rows.integer(row, 3), std::nullopt, rows.integer(row, 5)};
                        if (!rows.is_null(row, 4)) target.credential_id = std::string(rows.text(row, 4));
                        answer.at(static_cast<std::size_t>(rows.integer(row, 0))) = std::move(target);
                      }
                      return answer;
                    }));
}

void PgReceiptGateway::record_receipts(const std::vector<Receipt>& receipts,
                                       DbCallback<std::vector<std::size_t>> callback) {
  connection_.query(record_receipts_statement, {to_json(receipts)},
                    typed<std::vector<std::size_t>>(std::move(callback), [](Rows& rows) {
                      std::vector<std::size_t> held;
                      for (int row = 0; row < rows.count(); ++row)
                        held.push_back(static_cast<std::size_t>(rows.integer(row, 0)));
                      return held;
                    }));
}

void PgReceiptGateway::expect_receipts(const std::vector<SentMessage>& messages, DbCallback<Done> callback) {
  ArrayParam org_ids(ArrayParam::Element::uuid);
  ArrayParam ids(ArrayParam::Element::uuid);
  ArrayParam called_back(ArrayParam::Element::boolean);
  for (const auto& message : messages) {
    org_ids.add_uuid(message.org_id);
    ids.add_uuid(message.id);
    called_back.add_boolean(message.called_back);
  }
  connection_.query(expect_statement, {org_ids.take(), ids.take(), called_back.take()},
                    typed<Done>(std::move(callback), [](Rows&) { return Done{}; }));
}

void PgReceiptGateway::claim_status_checks(int max_count, DbCallback<std::vector<StatusCheck>> callback) {
  connection_.query(
      claim_status_checks_statement, {std::to_string(max_count)},
      typed<std::vector<StatusCheck>>(std::move(callback), [](Rows& rows) {
        std::vector<StatusCheck> checks;
        for (int row = 0; row < rows.count(); ++row)
          checks.push_back({std::string(rows.text(row, 0)), std::string(rows.text(row, 1)), rows.integer(row, 2),
                            std::string(rows.text(row, 3)), std::string(rows.text(row, 4)),
                            std::string(rows.text(row, 5)), rows.integer(row, 6)});
        return checks;
      }));
}

void PgReceiptGateway::inbound_credential(const std::string& id,
                                          DbCallback<std::optional<InboundCredential>> callback) {
  using Answer = std::optional<InboundCredential>;
  connection_.query(inbound_credential_statement, {id}, typed<Answer>(std::move(callback), [](Rows& rows) -> Answer {
                      if (rows.count() == 0) return std::nullopt;
                      return InboundCredential{std::string(rows.text(0, 0)), rows.integer(0, 1)};
                    }));
}

void PgReceiptGateway::record_inbound(const std::string& org_id, const std::string& credential_id,
                                      const InboundMessage& message, DbCallback<std::optional<std::string>> callback) {
  using Answer = std::optional<std::string>;
  connection_.query(record_inbound_statement,
                    {org_id, credential_id, message.provider_sid, message.from_number, message.to_number, message.body,
                     message.provider_keyword},
                    typed<Answer>(std::move(callback), [](Rows& rows) -> Answer {
                      if (rows.count() == 0 || rows.is_null(0, 0)) return std::nullopt;
                      return std::string(rows.text(0, 0));
                    }));
}

void PgReceiptGateway::note_refusals(const std::vector<SentMessage>& messages, DbCallback<Done> callback) {
  connection_.query(refusals_statement,
                    {array_of(messages, [](const SentMessage& message) { return message.org_id; }),
                     array_of(messages, [](const SentMessage& message) { return message.id; })},
                    typed<Done>(std::move(callback), [](Rows&) { return Done{}; }));
}

}  // namespace byocd
