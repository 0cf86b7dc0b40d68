// What goes between the queue and the database: claimed jobs, outcomes, credentials.
#pragma once

#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "../clock.h"
#include "../secret.h"

namespace byocd {

/// One claim call's result, shared by its jobs.
struct Claim {
  std::string id;
  /// The dispatcher identity under which it was made; its lease is renewed by that identity's heartbeat.
  std::string dispatcher;
  /// Until when nobody else takes its jobs, unless a heartbeat renews it. By the local monotonic clock, on the early
  /// side.
  Clock::time_point leased_until;
};

/// One message that is ours until its lease ends.
struct ClaimedJob {
  std::shared_ptr<const Claim> claim;
  std::string org_id;
  std::string id;
  std::string provider;
  /// Organization and account, as far as queueing goes: what limits and fairness are about.
  std::string lane;
  /// Nothing: the organization has no usable credential. May be environment_credential_id.
  std::optional<std::string> credential_id;
  int credential_version = 0;
  std::string to_number;
  std::string body;
  /// Counts from 1.
  int attempt = 1;
  /// What is left until the message is worthless; nothing: no limit.
  std::optional<int> validity_seconds;
  /// Where the provider shall call back with the message's status; nothing: nowhere.
  std::optional<std::string> receipt_address;
};

/// How many more jobs of a lane may be claimed.
struct LaneRoom {
  std::string lane;
  int room = 0;
};

/// What a claim asks for.
struct ClaimRequest {
  int slots = 0;
  /// At most so many of one lane, and of these lanes no more than that.
  int room = 0;
  std::vector<LaneRoom> rooms;
};

/// What became of an attempt (`returned`: never sent, give it back).
enum class OutcomeKind { accepted, rejected, throttled, unavailable, unknown, returned };

/// The name that SQL knows.
const char* to_string(OutcomeKind kind);

/// What is told to the database about one attempt.
struct Outcome {
  OutcomeKind kind = OutcomeKind::returned;
  std::optional<std::string> provider_sid;
  std::optional<std::string> provider_status;
  std::optional<std::string> from_number;
  std::optional<int> segments;
  std::optional<int> http_status;
  /// The provider's code as text, or one of ours (`no_credential`, `timeout`, ...).
  std::optional<std::string> error_code;
  std::optional<std::string> error_message;
  /// What the provider asked to wait before the next try.
  std::optional<std::chrono::milliseconds> retry_after;
  /// It is the account that is refused: whatever else goes out with it now is refused as well.
  bool refuses_account = false;
};

/// An outcome with the job it belongs to, ready to be recorded.
struct JobOutcome {
  std::shared_ptr<const Claim> claim;
  std::string org_id;
  std::string id;
  int attempt = 1;
  Outcome outcome;
  /// How long to wait before the next try, should SQL decide to try again.
  std::chrono::milliseconds retry_delay{0};
  std::chrono::milliseconds duration{0};
  /// The provider was told where to call back.
  bool called_back = false;
  /// Keeps its lane at rest until it is recorded; null: no need.
  std::shared_ptr<void> hold;
};

/// What stands for the environment's account where a credential's id does.
inline constexpr const char* environment_credential_id = "00000000-0000-0000-0000-000000000000";

/// Names one credential of one organization.
struct CredentialRef {
  std::string org_id;
  std::string id;
};

using CredentialFields = std::map<std::string, SecretString, std::less<>>;

/// A credential as the database opened it.
struct OpenedCredential {
  std::string org_id;
  std::string id;
  std::string provider;
  int version = 0;
  CredentialFields fields;
  /// Set when it could not be opened; `fields` is empty then.
  std::optional<std::string> error;
};

/// A credential whose check is due.
struct VerificationJob {
  std::string org_id;
  std::string id;
  std::string provider;
  int version = 0;
};

/// A message list to be read: what an account sent to one number.
struct ReconciliationJob {
  std::string org_id;
  std::string credential_id;
  int credential_version = 0;
  std::string provider;
  /// The account whose list it is; the credential may have another one by now.
  std::string account;
  std::string to_number;
  /// What was made before is of no interest, and need not be read.
  std::chrono::sys_seconds since;
  /// The database's time of the claim, as text for byoc.record_reconciliation.
  std::string read_at;
};

/// One message of the provider's list.
struct ListedMessage {
  std::string sid;
  /// The number it was sent from, when the list says so.
  std::optional<std::string> sender;
  /// What may have been asked for: the text, and the text without what the provider adds.
  std::vector<std::string> texts;
  /// The provider does not show the text.
  bool text_is_hidden = false;
  std::chrono::sys_seconds created_at;
  /// sent, delivered, undelivered or failed.
  std::string status;
  std::optional<int> segments;
  std::optional<std::string> error_code;
  std::optional<std::string> error_message;
};

/// What reading a list came to.
struct MessageListing {
  enum class State {
    complete,
    /// Too long to be read to its end.
    incomplete,
    /// It may not be read, or was not understood.
    refused,
    /// Not now: ask again.
    unavailable,
  };
  State state = State::unavailable;
  /// Why it is not complete.
  std::string problem;
  std::vector<ListedMessage> messages;
};

}  // namespace byocd
