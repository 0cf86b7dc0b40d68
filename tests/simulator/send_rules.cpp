#include "send_rules.h"

#include <fmt/format.h>

#include <algorithm>

#include "sid.h"
#include "text.h"

namespace simulator {
namespace {

constexpr std::size_t longest_body = 1600;  // characters
constexpr std::string_view magic_sender = "+15005550006";

template <typename... Args>
twilio_error bad_request(int code, fmt::format_string<Args...> text, Args&&... args) {
  return {400, code, fmt::format(text, std::forward<Args>(args)...)};
}

bool all_digits(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

bool contains(const std::vector<std::string>& list, std::string_view value) {
  return std::find(list.begin(), list.end(), value) != list.end();
}

bool is_short_code(std::string_view number) {
  return number.size() >= 3 && number.size() <= 8 && all_digits(number);
}

bool is_callback_url(std::string_view url) {
  const auto scheme = url.starts_with("http://") ? 7U : url.starts_with("https://") ? 8U : 0U;
  return scheme != 0 && url.size() > scheme && url[scheme] != '/' && url[scheme] != '?' && url[scheme] != '#';
}

std::optional<twilio_error> sender_refusal(const account& owner, std::string_view from) {
  if (const auto* number = owner.find_number(from); number != nullptr && number->sms) return std::nullopt;
  if (from == magic_sender) return std::nullopt;
  if (from == "+15005550008")
    return bad_request(21611, "This 'From' number has exceeded the maximum number of queued messages");
  if (from == "+15005550001" || !(is_dialable(from) || is_short_code(from)))
    return bad_request(21212, "Invalid From Number (caller ID): {}", from);
  return bad_request(
      21606,
      "The 'From' phone number {} is not a valid, SMS-capable inbound phone number or short code for your account.",
      from);
}

std::optional<twilio_error> service_refusal(const account& owner, std::string_view service_sid) {
  if (!is_sid(service_sid, "MG")) return bad_request(21705, "The Messaging Service Sid {} is invalid.", service_sid);
  const auto* service = owner.find_service(service_sid);
  if (service == nullptr) return bad_request(21701, "The Messaging Service {} does not exist.", service_sid);
  if (service->numbers && service->numbers->empty())
    return bad_request(21703, "The Messaging Service contains no phone numbers.");
  return std::nullopt;
}

std::optional<twilio_error> recipient_refusal(const account& owner, std::string_view to, std::string_view from) {
  if (to == "+15005550001" || !is_dialable(to)) return bad_request(21211, "Invalid 'To' Phone Number: {}", to);
  if (to == "+15005550002") {
    return bad_request(
        21612, "The 'To' phone number: {}, is not currently reachable using the 'From' phone number: {} via SMS.", to,
        from);
  }
  if (to == "+15005550003") {
    return bad_request(
        21408, "Permission to send an SMS has not been enabled for the region indicated by the 'To' number: {}.", to);
  }
  if (to == "+15005550004" || contains(owner.opted_out, to))
    return bad_request(21610, "Attempt to send to unsubscribed recipient");
  if (to == "+15005550009") return bad_request(21614, "'To' number: {}, is not a valid mobile number", to);
  if (owner.is_trial() && !contains(owner.verified_callers, to)) {
    return bad_request(
        21608,
        "The number {} is unverified. Trial accounts cannot send messages to unverified numbers; verify it in the "
        "console, or purchase a Twilio number to send messages to unverified numbers.",
        to);
  }
  return std::nullopt;
}

}  // namespace

bool is_dialable(std::string_view number) {
  if (number.size() < 8 || number.size() > 16 || number[0] != '+' || number[1] == '0' || !all_digits(number.substr(1)))
    return false;
  // North American Numbering Plan: an area code never starts with 0 or 1, and a number has ten digits.
  return number[1] != '1' || (number.size() == 12 && number[2] >= '2');
}

std::optional<twilio_error> refusal(const account& sender, const form& fields) {
  const auto to = fields.get("To");
  const auto from = fields.get("From");
  const auto service = fields.get("MessagingServiceSid");
  const auto body = fields.get("Body");
  if (sender.status != "active") return twilio_error{403, 30002, "Account suspended"};
  if (to.empty()) return bad_request(21604, "A 'To' phone number is required.");
  if (from.empty() && service.empty()) return bad_request(21603, "A 'From' phone number is required.");
  if (body.empty()) return bad_request(21602, "Message body is required.");
  for (const auto& [name, value] : fields.fields()) {
    if (!is_utf8(name) || !is_utf8(value)) return bad_request(20001, "A parameter is not valid UTF-8.");
  }
  if (count_characters(body) > longest_body)
    return bad_request(21617, "The concatenated message body exceeds the 1600 character limit");
  const auto callback = fields.get("StatusCallback");
  if (!callback.empty() && !is_callback_url(callback))
    return bad_request(21609, "The 'StatusCallback' URL {} is not a valid URL.", callback);
  if (!service.empty()) {
    if (auto error = service_refusal(sender, service)) return error;
  }
  if (!from.empty()) {
    if (auto error = sender_refusal(sender, from)) return error;
  }
  return recipient_refusal(sender, to, from);
}

std::string_view service_sender(const account& owner, const messaging_service& service) {
  if (service.numbers && !service.numbers->empty()) return service.numbers->front();
  for (const auto& each : owner.numbers) {
    if (each.sms) return each.number;
  }
  return magic_sender;
}

}  // namespace simulator
