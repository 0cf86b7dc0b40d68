// The database calls about messages that were sent, and that came in. On a connection of its own, so that a storm of
// callbacks delays neither claims nor outcomes.
#pragma once

#include <string>
#include <vector>

#include "../secret.h"
#include "connection.h"
#include "gateway.h"
#include "handshake.h"
#include "receipt.h"

namespace byocd {

/// Callbacks come from the loop.
class ReceiptGateway {
 public:
  virtual ~ReceiptGateway() = default;

  virtual bool ready() const = 0;
  /// byoc.receipt_key: the bytes that sign receipt tokens.
  virtual void receipt_key(DbCallback<SecretString> callback) = 0;
  /// byoc.open_receipts: one answer a token, nothing for one that is forged or whose message is gone. Tokens hold
  /// letters, digits, `-` and `_` only.
  virtual void open_receipts(const std::vector<std::string>& tokens,
                             DbCallback<std::vector<std::optional<ReceiptTarget>>> callback) = 0;
  /// byoc.record_receipts: answers which (from 0) to bring again in a moment. Recording twice does no harm.
  virtual void record_receipts(const std::vector<Receipt>& receipts, DbCallback<std::vector<std::size_t>> callback) = 0;
  /// byoc.expect_receipts
  virtual void expect_receipts(const std::vector<SentMessage>& messages, DbCallback<Done> callback) = 0;
  /// byoc.claim_status_checks: what comes back comes up again by itself, later and later.
  virtual void claim_status_checks(int max_count, DbCallback<std::vector<StatusCheck>> callback) = 0;

  /// byoc.inbound_credential: nothing when there is no such credential. `id` is a UUID.
  virtual void inbound_credential(const std::string& id, DbCallback<std::optional<InboundCredential>> callback) = 0;
  /// byoc.record_inbound: answers what kept it from being kept, nothing when it is.
  virtual void record_inbound(const std::string& org_id, const std::string& credential_id,
                              const InboundMessage& message, DbCallback<std::optional<std::string>> callback) = 0;
  /// byoc.note_refusals
  virtual void note_refusals(const std::vector<SentMessage>& messages, DbCallback<Done> callback) = 0;
};

class PgReceiptGateway final : public ReceiptGateway {
 public:
  PgReceiptGateway(Loop& loop, const Database& database, std::shared_ptr<const OpenedCredential> fallback);

  /// `on_change`: the connection became ready or was lost.
  void set_handler(std::function<void()> on_change);
  void open() { connection_.open(); }
  void close() { connection_.close(); }

  /// For what else may wait a little.
  Connection& connection() { return connection_; }

  bool ready() const override { return connection_.ready(); }
  void receipt_key(DbCallback<SecretString> callback) override;
  void open_receipts(const std::vector<std::string>& tokens,
                     DbCallback<std::vector<std::optional<ReceiptTarget>>> callback) override;
  void record_receipts(const std::vector<Receipt>& receipts, DbCallback<std::vector<std::size_t>> callback) override;
  void expect_receipts(const std::vector<SentMessage>& messages, DbCallback<Done> callback) override;
  void claim_status_checks(int max_count, DbCallback<std::vector<StatusCheck>> callback) override;
  void inbound_credential(const std::string& id, DbCallback<std::optional<InboundCredential>> callback) override;
  void record_inbound(const std::string& org_id, const std::string& credential_id, const InboundMessage& message,
                      DbCallback<std::optional<std::string>> callback) override;
  void note_refusals(const std::vector<SentMessage>& messages, DbCallback<Done> callback) override;

 private:
  Connection connection_;
  Handshake handshake_;
};

}  // namespace byocd
