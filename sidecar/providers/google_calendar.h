// Google's Calendar API, version 3 (https://developers.google.com/workspace/calendar/api/v3/reference).
#pragma once

#include <string>

#include "calendar_provider.h"
#include "google_oauth.h"

namespace byocd {

/// Credential fields: what GoogleOAuth needs, `access_token` besides, and `calendar_id` (default: `primary`).
class GoogleCalendar final : public CalendarProvider {
 public:
  /// `api_url` without a slash at its end, such as https://www.googleapis.com.
  GoogleCalendar(std::string api_url, GoogleOAuth oauth) : api_url_(std::move(api_url)), oauth_(std::move(oauth)) {}

  std::string_view name() const override { return "google_calendar"; }
  const OAuthProvider* oauth() const override { return &oauth_; }

  /// One step: whether the account may change the calendar's events.
  Result<HttpRequest, Problem> prepare_verification(const CredentialFields& credential, int step) const override;
  Verdict interpret_verification(const CredentialFields& credential, int step, const HttpResult& result) const override;

  /// Operations `event.insert`, `event.update` and `event.delete` of what byoc.calendar_payload() says. The event's id
  /// is ours, so an insert that was made before is a conflict: then the event is looked at, and written again unless it
  /// is what this very call wrote. An update of an event that is not there inserts it; a delete of one is done.
  Result<HttpRequest, PrepareError> prepare_call(const ClaimedCall& call, const CredentialFields& credential,
                                                 int step) const override;
  CallOutcome interpret_call(const ClaimedCall& call, int step, const HttpResult& result) const override;

  HttpRequest prepare_busy(const CredentialFields& credential, const std::string& from,
                           const std::string& to) const override;
  Result<std::string, Problem> interpret_busy(const CredentialFields& credential,
                                              const HttpResult& result) const override;

 private:
  /// A GET of what follows the calendar's address.
  HttpRequest request_for(const CredentialFields& credential, const std::string& rest) const;

  std::string api_url_;
  GoogleOAuth oauth_;
};

}  // namespace byocd
