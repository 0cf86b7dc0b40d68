// Jobs and credentials for tests. Every SID and token is made up.
#pragma once

#include <string>
#include <vector>

#include "db/job.h"
#include "timers.h"

namespace byocd {

inline const std::string account_sid = "AC00000000000000000000000000000001";

inline std::shared_ptr<const Claim> make_claim(const std::string& id, Clock::time_point leased_until,
                                               const std::string& dispatcher = "dispatcher-1") {
  return std::make_shared<const Claim>(Claim{id, dispatcher, leased_until});
}

inline ClaimedJob make_job(std::shared_ptr<const Claim> claim, const std::string& id) {
  ClaimedJob job;
  job.claim = std::move(claim);
  job.org_id = "org-1";
  job.id = id;
  job.provider = "twilio";
  job.lane = "lane-1";
  job.credential_id = "credential-1";
  job.credential_version = 1;
  job.to_number = "+15005550010";
  job.body = "hello";
  return job;
}

inline std::vector<ClaimedJob> make_jobs(const std::shared_ptr<const Claim>& claim, int count) {
  std::vector<ClaimedJob> jobs;
  for (int i = 0; i < count; ++i) jobs.push_back(make_job(claim, claim->id + "/" + std::to_string(i)));
  return jobs;
}

inline CredentialFields make_fields(std::initializer_list<std::pair<const char*, const char*>> values) {
  CredentialFields fields;
  for (const auto& [name, value] : values) fields.emplace(name, SecretString(value));
  return fields;
}

inline CredentialFields token_fields() {
  return make_fields({{"account_sid", account_sid.c_str()},
                      {"auth_token", "00000000000000000000000000000aaa"},
                      {"phone_number", "+15005550006"}});
}

inline OpenedCredential make_google_credential(int version = 1) {
  return {"org-1",
          "credential-1",
          "google_calendar",
          version,
          make_fields({{"client_id", "app.example"}, {"client_secret", "secret-000"}, {"refresh_token", "1//000"}}),
          std::nullopt};
}

inline OpenedCredential make_credential(int version = 1) {
  return {"org-1", "credential-1", "twilio", version, token_fields(), std::nullopt};
}

}  // namespace byocd
