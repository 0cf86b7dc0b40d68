/// Paths of Twilio's API version 2010-04-01, and of version 1 of its Messaging API, which has a host of its own.
#pragma once

#include <string_view>

namespace simulator {

inline constexpr std::string_view twilio_accounts_path = "/2010-04-01/Accounts";
inline constexpr std::string_view twilio_services_path = "/v1/Services/";

/// The account SID that a path names; empty when it names none.
constexpr std::string_view account_in_path(std::string_view path) {
  if (!path.starts_with(twilio_accounts_path)) return {};
  path.remove_prefix(twilio_accounts_path.size());
  if (!path.starts_with('/')) return {};
  path.remove_prefix(1);
  return path.substr(0, path.find_first_of("/."));
}

}  // namespace simulator
