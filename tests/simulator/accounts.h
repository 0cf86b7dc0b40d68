/// The Twilio accounts that the simulator knows, and who may speak for them.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "dates.h"

namespace simulator {

/// A number that the account bought (E.164, or a short code).
struct phone_number {
  std::string number;
  bool sms = true;
};

/// A credential besides the auth token. Only a main key may read /Accounts.
struct api_key {
  std::string sid;
  std::string secret;
  bool is_main = false;
};

/// A sender pool. Without `numbers` it sends from the account's first number.
struct messaging_service {
  std::string sid;
  std::optional<std::vector<std::string>> numbers;
};

struct account {
  std::string sid;
  std::string auth_token;
  std::string friendly_name;
  std::string status = "active";  // active, suspended or closed
  std::string type = "Full";      // Full or Trial
  bool trial_prefix = false;      // a trial account's messages start with Twilio's notice
  std::vector<phone_number> numbers;
  std::vector<api_key> api_keys;
  std::vector<std::string> verified_callers;
  std::vector<messaging_service> messaging_services;
  std::vector<std::string> opted_out;
  timestamp created{};

  const phone_number* find_number(std::string_view number) const;
  const messaging_service* find_service(std::string_view sid) const;
  bool is_trial() const { return type == "Trial"; }
};

/// Who a request was signed by.
struct principal {
  const account* owner;
  bool standard_key;
};

/// Lets SIDs be looked up by a view of their text.
struct sid_hash : std::hash<std::string_view> {
  using is_transparent = void;
};
template <typename Value>
using by_sid = std::unordered_map<std::string, Value, sid_hash, std::equal_to<>>;

class account_store {
 public:
  /// Creates the account, or replaces the one with the same SID (its creation date stays). Returns whether it is new.
  bool put(account value);

  /// Returns whether there was such an account.
  bool remove(std::string_view sid);
  void clear() { accounts_.clear(); }

  /// Valid until the account is replaced or removed; nullptr when unknown.
  const account* find(std::string_view sid) const;

  /// Checks an Authorization header (RFC 7617): account SID and auth token, or API key SID and secret. Nothing when it
  /// proves nobody.
  std::optional<principal> authenticate(std::string_view authorization) const;

  const by_sid<account>& all() const { return accounts_; }

 private:
  by_sid<account> accounts_;
  by_sid<std::string> account_of_key_;
};

}  // namespace simulator
