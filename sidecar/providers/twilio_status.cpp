#include "twilio_status.h"

#include <algorithm>
#include <charconv>
#include <ctime>
#include <map>
#include <nlohmann/json.hpp>

#include "../db/outcome_json.h"
#include "../json.h"
#include "form.h"
#include "twilio.h"

namespace byocd {

namespace {

using nlohmann::json;
using Fields = std::map<std::string, std::string>;

constexpr std::size_t longest_number = 64;

// Members that are text or numbers, as text.
Fields fields_of(const json& document) {
  Fields fields;
  if (!document.is_object()) return fields;
  for (const auto& [name, value] : document.items()) {
    if (value.is_string())
      fields[name] = value.get<std::string>();
    else if (value.is_number_integer())
      fields[name] = std::to_string(value.get<std::int64_t>());
  }
  return fields;
}

// The first of these names that has a value.
std::string first_of(const Fields& fields, std::initializer_list<const char*> names) {
  for (const char* name : names)
    if (const auto found = fields.find(name); found != fields.end() && !found->second.empty()) return found->second;
  return {};
}

bool is_message_sid(const std::string& text) {
  return text.size() == 34 && (text.starts_with("SM") || text.starts_with("MM")) &&
         std::all_of(text.begin() + 2, text.end(), [](unsigned char c) { return std::isxdigit(c) != 0; });
}

bool is_word(const std::string& text) {
  return !text.empty() && text.size() <= 32 &&
         std::all_of(text.begin(), text.end(), [](char c) { return (c >= 'a' && c <= 'z') || c == '_'; });
}

// Everything in it can be stored.
std::optional<ReceiptFacts> facts_of(std::string sid, std::string status, const std::string& error_code,
                                     const std::string& from) {
  if (!is_message_sid(sid) || !is_word(status)) return std::nullopt;
  ReceiptFacts facts;
  facts.provider_sid = std::move(sid);
  facts.status = std::move(status);
  int code = 0;
  const auto [end, error] = std::from_chars(error_code.data(), error_code.data() + error_code.size(), code);
  if (error == std::errc{} && end == error_code.data() + error_code.size() && code > 0)
    facts.error_code = std::to_string(code);
  if (!from.empty()) facts.from_number = storable_text(from, longest_number);
  return facts;
}

// RFC 2822, as in `Thu, 24 Aug 2023 05:01:45 +0000`; seconds since 1970.
std::optional<double> time_of(const std::string& text) {
  std::tm parts{};
  if (text.empty() || strptime(text.c_str(), "%a, %d %b %Y %H:%M:%S %z", &parts) == nullptr) return std::nullopt;
  const long offset = parts.tm_gmtoff;
  return static_cast<double>(timegm(&parts) - offset);
}

Fields posted_fields(std::string_view content_type, std::string_view body) {
  if (content_type.starts_with("application/json")) return fields_of(parse_json(body));
  Fields fields;
  for (auto& [name, value] : parse_form(body)) fields.emplace(std::move(name), std::move(value));
  return fields;
}

// Text as PostgreSQL takes it, with its line breaks: valid UTF-8 without U+0000.
std::string message_text(const std::string& text) {
  std::string valid = parse_json(dump_json(json(text))).get<std::string>();
  std::erase(valid, '\0');
  return valid;
}

}  // namespace

std::optional<ReceiptFacts> read_status_callback(std::string_view content_type, std::string_view body) {
  const Fields fields = posted_fields(content_type, body);
  return facts_of(first_of(fields, {"MessageSid", "SmsSid"}), first_of(fields, {"MessageStatus", "SmsStatus"}),
                  first_of(fields, {"ErrorCode"}), first_of(fields, {"From"}));
}

std::optional<InboundMessage> read_inbound_message(std::string_view content_type, std::string_view body) {
  const Fields fields = posted_fields(content_type, body);
  InboundMessage message;
  message.provider_sid = first_of(fields, {"MessageSid", "SmsSid"});
  message.from_number = message_text(storable_text(first_of(fields, {"From"}), longest_number));
  message.to_number = message_text(storable_text(first_of(fields, {"To"}), longest_number));
  message.body = message_text(first_of(fields, {"Body"}));
  if (!is_message_sid(message.provider_sid) || message.from_number.empty()) return std::nullopt;
  if (const auto keyword = first_of(fields, {"OptOutType"});
      keyword == "STOP" || keyword == "START" || keyword == "HELP")
    message.provider_keyword = keyword;
  return message;
}

bool Twilio::verifies_callbacks(const CredentialFields& credential) const {
  return find_field(credential, "auth_token") != nullptr;
}

Result<HttpRequest, PrepareError> Twilio::prepare_status(const CredentialFields& credential,
                                                         const std::string& provider_sid) const {
  return request_for(credential, "/Messages/" + percent_encoded(provider_sid) + ".json");
}

std::optional<ReceiptFacts> Twilio::interpret_status(const HttpResult& result) const {
  if (!result || result->status != 200) return std::nullopt;
  const Fields fields = fields_of(parse_json(result->body));
  auto facts = facts_of(first_of(fields, {"sid"}), first_of(fields, {"status"}), first_of(fields, {"error_code"}),
                        first_of(fields, {"from"}));
  if (facts) facts->at = time_of(first_of(fields, {"date_updated"}));
  return facts;
}

}  // namespace byocd
