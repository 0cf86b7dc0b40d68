// The gateway over two PostgreSQL connections.
#pragma once

#include <functional>
#include <string>

#include "connection.h"
#include "gateway.h"
#include "handshake.h"

namespace byocd {

/// *dispatch* listens, claims and sleeps; *record* does everything else, so that recording never delays a claim.
class PgGateway final : public Gateway {
 public:
  struct Options {
    /// Where *dispatch* goes, which listens: the server itself.
    Database direct;
    /// Where *record* goes.
    Database work;
    std::chrono::milliseconds lease{30'000};
    std::chrono::milliseconds poll_interval{1'000};
    /// Gives the identity for a new dispatch session, and the one in use.
    std::function<std::string()> new_identity;
    std::function<std::string()> identity;
    /// The environment's account, which may be used on the organizations' behalf; null: none.
    std::shared_ptr<const OpenedCredential> fallback;
  };
  struct Handlers {
    /// One of the two connections became ready or was lost; ask can_claim() and can_record().
    std::function<void()> on_change;
    /// A NOTIFY on channel byoc_jobs.
    std::function<void()> on_notify;
  };

  PgGateway(Loop& loop, Options options);

  void set_handlers(Handlers handlers);
  void open();
  void close();

  bool can_claim() const override { return dispatch_.ready(); }
  bool can_record() const override { return record_.ready(); }
  void claim_jobs(const ClaimRequest& request, DbCallback<std::vector<ClaimedJob>> callback) override;
  void announce_sleep(const std::vector<std::string>& full_lanes,
                      DbCallback<std::optional<std::chrono::milliseconds>> callback) override;
  void open_credentials(const std::vector<CredentialRef>& refs,
                        DbCallback<std::vector<OpenedCredential>> callback) override;
  void record_outcomes(const std::vector<JobOutcome>& outcomes, DbCallback<int> callback) override;
  void heartbeat(const std::string& dispatcher, DbCallback<int> callback) override;
  void rescue_expired(DbCallback<int> callback) override;
  void seal_audit_log(DbCallback<int> callback) override;
  void claim_verifications(int max_count, DbCallback<std::vector<VerificationJob>> callback) override;
  void record_verification(const VerificationJob& job, const std::string& status,
                           const std::optional<std::string>& error, DbCallback<Done> callback) override;
  void claim_reconciliations(int max_count, DbCallback<std::vector<ReconciliationJob>> callback) override;
  void record_reconciliation(const ReconciliationJob& job, const MessageListing& listing,
                             DbCallback<int> callback) override;
  void claim_calls(int max_count, int per_credential, DbCallback<std::vector<ClaimedCall>> callback) override;
  void record_calls(const std::vector<CallRecord>& records, DbCallback<int> callback) override;

 private:
  std::string lease_text() const;
  void record_as_json(const std::vector<JobOutcome>& outcomes, DbCallback<int> callback);
  /// Answers the sum of what was recorded before and of these.
  DbCallback<int> record_then(std::vector<JobOutcome> others, DbCallback<int> callback);

  Options options_;
  Connection dispatch_;
  Connection record_;
  Handshake dispatch_handshake_;
  Handshake record_handshake_;
};

}  // namespace byocd
