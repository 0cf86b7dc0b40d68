// Google's Calendar API, version 3 (https://developers.google.com/workspace/calendar/api/v3/reference).
#pragma once

#include <string>

#include "google_oauth.h"
#include "provider.h"

namespace byocd {

/// Credential fields: what GoogleOAuth needs, `access_token` besides, and `calendar_id` (default: `primary`).
class GoogleCalendar final : public Provider {
 public:
  /// `api_url` without a slash at its end, such as https://www.googleapis.com.
  GoogleCalendar(std::string api_url, GoogleOAuth oauth) : api_url_(std::move(api_url)), oauth_(std::move(oauth)) {}

  std::string_view name() const override { return "google_calendar"; }
  const OAuthProvider* oauth() const override { return &oauth_; }

  /// One step: whether the account may change the calendar's events.
  Result<HttpRequest, Problem> prepare_verification(const CredentialFields& credential, int step) const override;
  Verdict interpret_verification(const CredentialFields& credential, int step, const HttpResult& result) const override;

 private:
  /// A GET of what follows the calendar's address.
  HttpRequest request_for(const CredentialFields& credential, const std::string& rest) const;

  std::string api_url_;
  GoogleOAuth oauth_;
};

}  // namespace byocd
