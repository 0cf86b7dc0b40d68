// Every call that the sidecar makes to the database, typed. The queue knows this interface only; tests fake it.
#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "call.h"
#include "job.h"
#include "rows.h"

namespace byocd {

template <class T>
using DbCallback = std::function<void(Result<T, DbError>)>;

/// The functions of schema `byoc` granted by byoc.grant_dispatcher(). Callbacks come from the loop.
class Gateway {
 public:
  virtual ~Gateway() = default;

  /// Whether claims can be made, and whether outcomes can be recorded: two connections.
  virtual bool can_claim() const = 0;
  virtual bool can_record() const = 0;

  /// byoc.claim_jobs: what comes back is durably ours.
  virtual void claim_jobs(const ClaimRequest& request, DbCallback<std::vector<ClaimedJob>> callback) = 0;
  /// byoc.dispatcher_sleep: from now on inserts notify. Answers when work is due, not counting full lanes: 0 = at once,
  /// nothing = not known.
  virtual void announce_sleep(const std::vector<std::string>& full_lanes,
                              DbCallback<std::optional<std::chrono::milliseconds>> callback) = 0;

  /// byoc.open_credentials. A credential that is not active any more is missing from the answer.
  virtual void open_credentials(const std::vector<CredentialRef>& refs,
                                DbCallback<std::vector<OpenedCredential>> callback) = 0;
  /// byoc.record_outcomes: answers how many were still ours. Recording twice does no harm.
  virtual void record_outcomes(const std::vector<JobOutcome>& outcomes, DbCallback<int> callback) = 0;

  /// byoc.heartbeat: renews the claims of this dispatcher identity.
  virtual void heartbeat(const std::string& dispatcher, DbCallback<int> callback) = 0;
  /// byoc.rescue_expired: takes over jobs whose lease ran out.
  virtual void rescue_expired(DbCallback<int> callback) = 0;

  /// byoc.seal_audit_log: answers how many entries were sealed; more may wait unless it is 0.
  virtual void seal_audit_log(DbCallback<int> callback) = 0;

  /// byoc.claim_verifications and byoc.record_verification (`status`: verified, failed, retry).
  virtual void claim_verifications(int max_count, DbCallback<std::vector<VerificationJob>> callback) = 0;
  virtual void record_verification(const VerificationJob& job, const std::string& status,
                                   const std::optional<std::string>& error, DbCallback<Done> callback) = 0;

  /// byoc.claim_reconciliations: message lists to read.
  virtual void claim_reconciliations(int max_count, DbCallback<std::vector<ReconciliationJob>> callback) = 0;
  /// byoc.record_reconciliation: answers how many messages were settled by it.
  virtual void record_reconciliation(const ReconciliationJob& job, const MessageListing& listing,
                                     DbCallback<int> callback) = 0;

  /// byoc.claim_calls: at most `max_count`, and so many of one credential.
  virtual void claim_calls(int max_count, int per_credential, DbCallback<std::vector<ClaimedCall>> callback) = 0;
  /// byoc.record_calls: answers how many were still ours.
  virtual void record_calls(const std::vector<CallRecord>& records, DbCallback<int> callback) = 0;
};

}  // namespace byocd
