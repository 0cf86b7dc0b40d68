#include "twilio_resources.h"

#include <fmt/format.h>

#include <array>
#include <iterator>

#include "form.h"
#include "list_page.h"
#include "sid.h"
#include "text.h"
#include "twilio_errors.h"
#include "twilio_paths.h"

namespace simulator {
namespace {

std::string json_quoted(std::string_view text) {
  std::string out;
  append_json_string(out, text);
  return out;
}

std::string number_sid(const account& owner, std::string_view number) {
  return derived_sid("PN", owner.sid + std::string(number));
}
std::string caller_sid(const account& owner, std::string_view number) {
  return derived_sid("PN", owner.sid + "caller" + std::string(number));
}

std::string number_resource(const account& owner, const phone_number& number) {
  const auto sid = number_sid(owner, number.number);
  const auto date = rfc2822(owner.created);
  return fmt::format(
      R"({{"sid":"{0}","account_sid":"{1}","phone_number":{2},"friendly_name":{2},"capabilities":{{"voice":true,"sms":{3},"mms":{3},"fax":false}},)"
      R"("address_requirements":"none","address_sid":null,"api_version":"2010-04-01","beta":false,"bundle_sid":null,)"
      R"("date_created":"{4}","date_updated":"{4}","emergency_address_sid":null,"emergency_address_status":"unregistered",)"
      R"("emergency_status":"Inactive","identity_sid":null,"origin":"twilio","sms_application_sid":"","sms_fallback_method":"POST",)"
      R"("sms_fallback_url":"","sms_method":"POST","sms_url":"","status":"in-use","status_callback":"","status_callback_method":"POST",)"
      R"("trunk_sid":null,"type":null,"voice_application_sid":"","voice_caller_id_lookup":false,"voice_fallback_method":"POST",)"
      R"("voice_fallback_url":"","voice_method":"POST","voice_receive_mode":"voice","voice_url":"",)"
      R"("uri":"/2010-04-01/Accounts/{1}/IncomingPhoneNumbers/{0}.json","subresource_uris":)"
      R"({{"assigned_add_ons":"/2010-04-01/Accounts/{1}/IncomingPhoneNumbers/{0}/AssignedAddOns.json"}}}})",
      sid, owner.sid, json_quoted(number.number), number.sms, date);
}

std::string caller_resource(const account& owner, const std::string& number) {
  const auto sid = caller_sid(owner, number);
  return fmt::format(
      R"({{"sid":"{0}","account_sid":"{1}","phone_number":{2},"friendly_name":{2},"date_created":"{3}","date_updated":"{3}",)"
      R"("uri":"/2010-04-01/Accounts/{1}/OutgoingCallerIds/{0}.json"}})",
      sid, owner.sid, json_quoted(number), rfc2822(owner.created));
}

/// Both number lists filter alike: the friendly name is the number itself.
bool is_wanted(std::string_view number, const form& query) {
  const auto friendly_name = query.get("FriendlyName");
  return number_matches(number, query.get("PhoneNumber")) && (friendly_name.empty() || friendly_name == number);
}

}  // namespace

bool number_matches(std::string_view number, std::string_view pattern) {
  for (std::size_t at = 0; at + pattern.size() <= number.size(); ++at) {
    std::size_t i = 0;
    while (i < pattern.size() && (pattern[i] == number[at + i] || (pattern[i] == '*' && number[at + i] != '+'))) ++i;
    if (i == pattern.size()) return true;
  }
  return false;
}

std::string account_resource(const account& subject) {
  constexpr std::array<std::pair<std::string_view, std::string_view>, 8> parts = {{
      {"addresses", "Addresses"},
      {"applications", "Applications"},
      {"balance", "Balance"},
      {"calls", "Calls"},
      {"incoming_phone_numbers", "IncomingPhoneNumbers"},
      {"keys", "Keys"},
      {"messages", "Messages"},
      {"outgoing_caller_ids", "OutgoingCallerIds"},
  }};
  std::string links;
  for (const auto& [name, path] : parts) {
    fmt::format_to(std::back_inserter(links), R"({}"{}":"/2010-04-01/Accounts/{}/{}.json")", links.empty() ? "" : ",",
                   name, subject.sid, path);
  }
  return fmt::format(
      R"({{"sid":"{0}","friendly_name":{1},"status":"{2}","type":"{3}","owner_account_sid":"{0}","auth_token":"",)"
      R"("date_created":"{4}","date_updated":"{4}","uri":"/2010-04-01/Accounts/{0}.json","subresource_uris":{{{5}}}}})",
      subject.sid, json_quoted(subject.friendly_name), subject.status, subject.type, rfc2822(subject.created), links);
}

answer incoming_numbers(const account& owner, const request& asked) {
  const auto query = form::parse(asked.query);
  std::vector<std::string> items;
  for (const auto& number : owner.numbers) {
    if (is_wanted(number.number, query)) items.push_back(number_resource(owner, number));
  }
  return whole_list(asked, "incoming_phone_numbers", items);
}

answer incoming_number(const account& owner, std::string_view sid, const request& asked) {
  for (const auto& number : owner.numbers) {
    if (number_sid(owner, number.number) != sid) continue;
    answer result;
    result.body = number_resource(owner, number);
    return result;
  }
  return to_answer(not_found_error(asked.path));
}

answer outgoing_callers(const account& owner, const request& asked) {
  const auto query = form::parse(asked.query);
  std::vector<std::string> items;
  for (const auto& number : owner.verified_callers) {
    if (is_wanted(number, query)) items.push_back(caller_resource(owner, number));
  }
  return whole_list(asked, "outgoing_caller_ids", items);
}

answer outgoing_caller(const account& owner, std::string_view sid, const request& asked) {
  for (const auto& number : owner.verified_callers) {
    if (caller_sid(owner, number) != sid) continue;
    answer result;
    result.body = caller_resource(owner, number);
    return result;
  }
  return to_answer(not_found_error(asked.path));
}

answer service(const account& owner, const request& asked) {
  const auto* found = owner.find_service(asked.path.substr(twilio_services_path.size()));
  if (found == nullptr) return to_answer(not_found_error(asked.path));
  if (asked.method != "GET") return to_answer({405, 20004, "Method not allowed"});
  const auto date = iso8601(owner.created);
  answer result;
  result.body = fmt::format(
      R"({{"sid":"{0}","account_sid":"{1}","friendly_name":"{0}","date_created":"{2}","date_updated":"{2}","sticky_sender":true,)"
      R"("mms_converter":true,"smart_encoding":false,"fallback_to_long_code":true,"scan_message_content":"inherit",)"
      R"("area_code_geomatch":true,"validity_period":36000,"synchronous_validation":false,"usecase":"undeclared",)"
      R"("us_app_to_person_registered":false,"use_inbound_webhook_on_number":false,"inbound_request_url":null,)"
      R"("inbound_method":"POST","fallback_url":null,"fallback_method":"POST","status_callback":null,)"
      R"("url":"https://messaging.twilio.com/v1/Services/{0}","links":)"
      R"({{"phone_numbers":"https://messaging.twilio.com/v1/Services/{0}/PhoneNumbers"}}}})",
      found->sid, owner.sid, date);
  return result;
}

}  // namespace simulator
