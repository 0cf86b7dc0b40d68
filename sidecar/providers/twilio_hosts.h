// Which of Twilio's hosts a credential's requests go to (https://www.twilio.com/docs/global-infrastructure).
#pragma once

#include <string>
#include <string_view>

#include "provider.h"

namespace byocd {

/// The URL of `product` (`api` or `messaging`) for a credential, without a slash at its end. Where the host of
/// `base_url` begins with `api.`, the product takes that label's place and the credential's fields `edge` and `region`
/// follow it, as in https://api.dublin.ie1.twilio.com; an edge alone is one of region us1. Any other base URL is a
/// stand-in for all of them and stays as it is. Never leads to another domain than `base_url`'s.
Result<std::string, PrepareError> twilio_url(const std::string& base_url, std::string_view product,
                                             const CredentialFields& credential);

}  // namespace byocd
