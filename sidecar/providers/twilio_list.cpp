// The message list of a Twilio account
// (https://www.twilio.com/docs/messaging/api/message-resource#read-multiple-message-resources): what shows whether a
// message whose answer was lost was taken.
#include <fmt/format.h>

#include <ctime>
#include <nlohmann/json.hpp>

#include "../json.h"
#include "form.h"
#include "json_members.h"
#include "twilio.h"

namespace byocd {

namespace {

using nlohmann::json;
using std::chrono::sys_seconds;
using State = MessageListing::State;

constexpr int page_size = 200;
// What Twilio puts before the texts of trial accounts.
constexpr std::string_view trial_notice = "Sent from your Twilio trial account - ";

std::string list_path(const std::string& account) {
  return "/2010-04-01/Accounts/" + percent_encoded(account) + "/Messages.json?";
}

// RFC 2822, as in `Fri, 20 Nov 2026 12:00:00 +0000`; always GMT.
std::optional<sys_seconds> time_member(const json& message, const char* name) {
  const auto text = text_member(message, name);
  std::tm parts{};
  if (!text || ::strptime(text->c_str(), "%a, %d %b %Y %H:%M:%S +0000", &parts) == nullptr) return std::nullopt;
  return sys_seconds(std::chrono::seconds(::timegm(&parts)));
}

std::string normal_status(const std::string& status) {
  if (status == "delivered" || status == "read") return "delivered";
  if (status == "failed" || status == "canceled") return "failed";
  if (status == "undelivered") return status;
  return "sent";
}

// Redaction leaves nothing, a mark or only masking characters.
bool is_hidden(const std::string& text) {
  return text.find_first_not_of("*xX") == text.npos || text.find("REDACTED") != text.npos;
}

std::optional<ListedMessage> read_message(const json& item) {
  const auto sid = text_member(item, "sid");
  const auto created_at = time_member(item, "date_created");
  if (!sid || !created_at) return std::nullopt;
  ListedMessage message;
  message.sid = *sid;
  message.created_at = *created_at;
  message.sender = text_member(item, "from");
  message.status = normal_status(text_member(item, "status").value_or(""));
  message.segments = number_member(item, "num_segments");
  if (const auto code = number_member(item, "error_code")) message.error_code = std::to_string(*code);
  message.error_message = text_member(item, "error_message");
  const std::string text = text_member(item, "body").value_or("");
  message.text_is_hidden = is_hidden(text);
  message.texts.push_back(text);
  if (text.rfind(trial_notice, 0) == 0) message.texts.push_back(text.substr(trial_notice.size()));
  return message;
}

ListProblem not_understood() {
  return {State::refused, "Twilio's answer was not understood"};
}

Result<ListedPage, ListProblem> read_page(const json& document) {
  const auto items = document.find("messages");
  if (items == document.end() || !items->is_array()) return fail(not_understood());
  ListedPage page;
  for (const json& item : *items) {
    if (!item.is_object()) return fail(not_understood());
    auto message = read_message(item);
    if (!message) return fail(not_understood());
    // The list is sorted by date_sent; a message that was not sent yet is as new as its making.
    page.oldest = time_member(item, "date_sent").value_or(message->created_at);
    if (text_member(item, "direction") != "inbound") page.messages.push_back(std::move(*message));
  }
  page.next = text_member(document, "next_page_uri").value_or("");
  return page;
}

}  // namespace

Result<HttpRequest, PrepareError> Twilio::prepare_list(const ReconciliationJob& job, const CredentialFields& credential,
                                                       const std::string& next) const {
  const std::string path = list_path(job.account);
  if (!next.empty()) {
    if (next.rfind(path, 0) != 0) return fail(PrepareError{"bad_answer", "Twilio's next page is of another list"});
    return request_to(credential, next);
  }
  // No filter by DateSent: nothing says that it lets messages through that were not sent yet.
  std::string query;
  append_field(query, "To", job.to_number);
  append_field(query, "PageSize", std::to_string(page_size));
  return request_to(credential, path + query);
}

Result<ListedPage, ListProblem> Twilio::interpret_list(const HttpResult& result) const {
  if (!result) return fail(ListProblem{State::unavailable, "Twilio could not be reached: " + result.error().message});
  const HttpResponse& response = *result;
  const json document = parse_json(response.body);
  if (response.status == 429 || response.status >= 500)
    return fail(ListProblem{State::unavailable, fmt::format("Twilio answered HTTP {}", response.status)});
  if (response.status >= 400) {
    const auto code = document.is_object() ? number_member(document, "code") : std::nullopt;
    return fail(ListProblem{State::refused, fmt::format("Twilio refused it with HTTP {}{}", response.status,
                                                        code ? fmt::format(" ({})", *code) : "")});
  }
  if (response.status != 200 || !document.is_object()) return fail(not_understood());
  return read_page(document);
}

}  // namespace byocd
