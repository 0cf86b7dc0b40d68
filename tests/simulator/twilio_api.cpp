#include "twilio_api.h"

#include <charconv>

#include "list_page.h"
#include "twilio_paths.h"
#include "twilio_resources.h"

namespace simulator {
namespace {

/// The Twilio code of an error document made by to_answer.
int code_of(const answer& refused) {
  constexpr std::string_view field = "\"code\":";
  int code = 0;
  const auto at = refused.body.find(field);
  if (at != std::string::npos)
    std::from_chars(refused.body.data() + at + field.size(), refused.body.data() + refused.body.size(), code);
  return code;
}

}  // namespace

answer twilio_api::handle(const request& asked) {
  auto result = route(asked);
  if (result.status >= 400) ++stats_.rejected[code_of(result)];
  return result;
}

answer twilio_api::route(const request& asked) {
  constexpr std::string_view suffix = ".json";
  const auto caller = accounts_.authenticate(asked.authorization);
  if (!caller || caller->owner->status == "closed") return to_answer(authentication_error());
  const auto& owner = *caller->owner;
  if (asked.path.starts_with(twilio_services_path)) return service(owner, asked);
  // Without `.json` Twilio answers XML, which nobody here reads.
  if (!asked.path.ends_with(suffix) || !asked.path.starts_with(twilio_accounts_path))
    return to_answer(not_found_error(asked.path));
  const bool reads = asked.method == "GET";
  auto rest = asked.path.substr(twilio_accounts_path.size());
  rest.remove_suffix(suffix.size());
  if (rest.empty()) {
    if (caller->standard_key) return to_answer(authentication_error());
    return reads ? whole_list(asked, "accounts", {account_resource(owner)})
                 : to_answer({405, 20004, "Method not allowed"});
  }
  // Another account is as good as closed to this caller, whether it exists or not.
  if (account_in_path(asked.path) != owner.sid) return to_answer(authentication_error());
  rest.remove_prefix(1 + owner.sid.size());
  if (rest.empty()) {
    if (caller->standard_key) return to_answer(authentication_error());
    if (!reads) return to_answer({405, 20004, "Method not allowed"});
    answer result;
    result.body = account_resource(owner);
    return result;
  }
  rest.remove_prefix(1);
  if (rest == "Messages" && asked.method == "POST") return messages_.create(owner, asked);
  const auto slash = rest.find('/');
  const auto collection = rest.substr(0, slash);
  const bool known =
      collection == "Messages" || collection == "IncomingPhoneNumbers" || collection == "OutgoingCallerIds";
  if (!known) return to_answer(not_found_error(asked.path));
  if (!reads) return to_answer({405, 20004, "Method not allowed"});
  if (slash == std::string_view::npos) {
    if (collection == "Messages") return messages_.list(owner, asked);
    return collection == "IncomingPhoneNumbers" ? incoming_numbers(owner, asked) : outgoing_callers(owner, asked);
  }
  const auto sid = rest.substr(slash + 1);
  if (collection == "Messages") return messages_.fetch(owner, sid, asked);
  return collection == "IncomingPhoneNumbers" ? incoming_number(owner, sid, asked) : outgoing_caller(owner, sid, asked);
}

}  // namespace simulator
