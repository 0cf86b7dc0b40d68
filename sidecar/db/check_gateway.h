// The SQL calls of `byocd check`: functions that byoc.grant_dispatcher gives, no table.
#pragma once

#include <optional>
#include <string>

#include "check_queue.h"
#include "database_problem.h"
#include "job.h"
#include "session.h"

namespace byocd {

/// What byoc.check_subject() knows of an organization.
struct CheckTarget {
  std::string organization;
  /// The setting alert_phone; empty when there is none.
  std::string alert_phone;
  std::string credential_id;
  /// ready, none, no_default, revoked or shredded.
  std::string state;
  std::string verification_status;
  std::string verification_error;
  bool has_dispatcher = false;
};

/// One organization's credential and queue.
class CheckGateway final : public CheckQueue {
 public:
  CheckGateway(Session session, std::string org_id) : session_(std::move(session)), org_id_(std::move(org_id)) {}

  /// Looks the organization up. Problems: no such organization, no usable
  /// credential, or what the database says.
  Result<CheckTarget, Problem> target();
  /// The fields of the credential in plaintext.
  Result<CredentialFields, Problem> credential();

  Result<std::string, Problem> send(const std::string& recipient, const std::string& body) override;
  Result<QueuedMessage, Problem> look(const std::string& id) override;
  std::optional<Problem> obstacle() override;
  Problem delay() const override;

 private:
  std::string verify_again() const;

  Session session_;
  std::string org_id_;
  CheckTarget target_;
};

}  // namespace byocd
