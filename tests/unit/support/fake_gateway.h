// A database that answers when the test says so.
#pragma once

#include <deque>
#include <string>
#include <utility>
#include <vector>

#include "db/gateway.h"

namespace byocd {

/// A call that waits for its answer.
template <class Arguments, class T>
struct FakeCall {
  Arguments arguments;
  DbCallback<T> callback;
};

/// Takes the oldest call and answers it.
template <class Arguments, class T>
Arguments answer(std::deque<FakeCall<Arguments, T>>& calls, Result<T, DbError> result) {
  auto call = std::move(calls.front());
  calls.pop_front();
  call.callback(std::move(result));
  return call.arguments;
}

inline DbError lost() {
  return {"", "lost", "", true};
}
inline DbError sql_error(std::string sqlstate) {
  return {std::move(sqlstate), "refused", "", false};
}

class FakeGateway final : public Gateway {
 public:
  bool can_claim() const override { return connected; }
  bool can_record() const override { return connected; }
  void claim_jobs(const ClaimRequest& request, DbCallback<std::vector<ClaimedJob>> callback) override {
    last_claim = request;
    claims.push_back({request.slots, std::move(callback)});
  }
  void announce_sleep(const std::vector<std::string>& full_lanes,
                      DbCallback<std::optional<std::chrono::milliseconds>> callback) override {
    sleeps.push_back({full_lanes, std::move(callback)});
  }
  void open_credentials(const std::vector<CredentialRef>& refs,
                        DbCallback<std::vector<OpenedCredential>> callback) override {
    opens.push_back({refs, std::move(callback)});
  }
  void record_outcomes(const std::vector<JobOutcome>& outcomes, DbCallback<int> callback) override {
    records.push_back({outcomes, std::move(callback)});
  }
  void heartbeat(const std::string& dispatcher, DbCallback<int> callback) override {
    heartbeats.push_back({dispatcher, std::move(callback)});
  }
  void rescue_expired(DbCallback<int> callback) override { rescues.push_back({0, std::move(callback)}); }
  void seal_audit_log(DbCallback<int> callback) override { seals.push_back({0, std::move(callback)}); }
  void claim_verifications(int max_count, DbCallback<std::vector<VerificationJob>> callback) override {
    verification_claims.push_back({max_count, std::move(callback)});
  }
  void record_verification(const VerificationJob&, const std::string& status, const std::optional<std::string>& error,
                           DbCallback<Done> callback) override {
    verifications.push_back({{status, error.value_or("")}, std::move(callback)});
  }
  void claim_reconciliations(int max_count, DbCallback<std::vector<ReconciliationJob>> callback) override {
    reconciliation_claims.push_back({max_count, std::move(callback)});
  }
  void record_reconciliation(const ReconciliationJob&, const MessageListing& listing,
                             DbCallback<int> callback) override {
    listings.push_back({listing, std::move(callback)});
  }
  void claim_calls(int max_count, int, DbCallback<std::vector<ClaimedCall>> callback) override {
    call_claims.push_back({max_count, std::move(callback)});
  }
  void record_calls(const std::vector<CallRecord>& records, DbCallback<int> callback) override {
    call_records.push_back({records, std::move(callback)});
  }

  bool connected = true;
  ClaimRequest last_claim;
  std::deque<FakeCall<int, std::vector<ClaimedJob>>> claims;
  std::deque<FakeCall<std::vector<std::string>, std::optional<std::chrono::milliseconds>>> sleeps;
  std::deque<FakeCall<std::vector<CredentialRef>, std::vector<OpenedCredential>>> opens;
  std::deque<FakeCall<std::vector<JobOutcome>, int>> records;
  std::deque<FakeCall<std::string, int>> heartbeats;
  std::deque<FakeCall<int, int>> rescues;
  std::deque<FakeCall<int, int>> seals;
  std::deque<FakeCall<int, std::vector<VerificationJob>>> verification_claims;
  std::deque<FakeCall<std::pair<std::string, std::string>, Done>> verifications;
  std::deque<FakeCall<int, std::vector<ReconciliationJob>>> reconciliation_claims;
  std::deque<FakeCall<MessageListing, int>> listings;
  std::deque<FakeCall<int, std::vector<ClaimedCall>>> call_claims;
  std::deque<FakeCall<std::vector<CallRecord>, int>> call_records;
};

}  // namespace byocd
