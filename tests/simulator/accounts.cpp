#include "accounts.h"

#include <strings.h>

#include <algorithm>

#include "base64.h"

namespace simulator {

const phone_number* account::find_number(std::string_view number) const {
  const auto at = std::find_if(numbers.begin(), numbers.end(), [&](const auto& each) { return each.number == number; });
  return at == numbers.end() ? nullptr : &*at;
}

const messaging_service* account::find_service(std::string_view service_sid) const {
  const auto at = std::find_if(messaging_services.begin(), messaging_services.end(),
                               [&](const auto& each) { return each.sid == service_sid; });
  return at == messaging_services.end() ? nullptr : &*at;
}

bool account_store::put(account value) {
  const auto known = accounts_.find(value.sid);
  value.created = known == accounts_.end() ? now() : known->second.created;
  // A key left behind by a replaced account names an account that no longer holds it: authenticate looks there and
  // refuses.
  for (const auto& key : value.api_keys) account_of_key_.insert_or_assign(key.sid, value.sid);
  auto sid = value.sid;
  return accounts_.insert_or_assign(std::move(sid), std::move(value)).second;
}

bool account_store::remove(std::string_view sid) {
  const auto at = accounts_.find(sid);
  if (at == accounts_.end()) return false;
  accounts_.erase(at);
  return true;
}

const account* account_store::find(std::string_view sid) const {
  const auto at = accounts_.find(sid);
  return at == accounts_.end() ? nullptr : &at->second;
}

std::optional<principal> account_store::authenticate(std::string_view authorization) const {
  constexpr std::string_view scheme = "Basic ";
  if (authorization.size() <= scheme.size() || strncasecmp(authorization.data(), scheme.data(), scheme.size()) != 0)
    return std::nullopt;
  const auto decoded = base64_decode(authorization.substr(scheme.size()));
  if (!decoded) return std::nullopt;
  const auto colon = decoded->find(':');
  if (colon == std::string::npos) return std::nullopt;
  const auto user = std::string_view(*decoded).substr(0, colon);
  const auto password = std::string_view(*decoded).substr(colon + 1);
  if (const auto* owner = find(user)) {
    if (owner->auth_token != password) return std::nullopt;
    return principal{owner, false};
  }
  const auto holder = account_of_key_.find(user);
  const auto* owner = holder == account_of_key_.end() ? nullptr : find(holder->second);
  if (owner == nullptr) return std::nullopt;
  for (const auto& key : owner->api_keys) {
    if (key.sid == user && key.secret == password) return principal{owner, !key.is_main};
  }
  return std::nullopt;
}

}  // namespace simulator
