#include "listing_json.h"

#include <fmt/chrono.h>

#include <nlohmann/json.hpp>

#include "../json.h"
#include "outcome_json.h"

namespace byocd {

namespace {

using nlohmann::json;

// Texts are compared, so nothing is cut or cleaned; jsonb refuses U+0000, which no text of ours has.
std::string comparable_text(std::string text) {
  for (char& c : text)
    if (c == '\0') c = '\x01';
  return text;
}

json to_json(const ListedMessage& message) {
  json texts = json::array();
  for (const auto& text : message.texts) texts.push_back(comparable_text(text));
  json object{{"sid", storable_text(message.sid)},
              {"texts", std::move(texts)},
              {"text_is_hidden", message.text_is_hidden},
              {"created_at", utc_text(message.created_at)},
              {"status", message.status}};
  if (message.sender) object["sender"] = storable_text(*message.sender);
  if (message.segments) object["segments"] = *message.segments;
  if (message.error_code) object["error_code"] = storable_text(*message.error_code);
  if (message.error_message) object["error_message"] = storable_text(*message.error_message);
  return object;
}

}  // namespace

const char* to_string(MessageListing::State state) {
  switch (state) {
    case MessageListing::State::complete:
      return "complete";
    case MessageListing::State::incomplete:
      return "incomplete";
    case MessageListing::State::refused:
      return "refused";
    case MessageListing::State::unavailable:
      return "unavailable";
  }
  return "unavailable";
}

std::string utc_text(std::chrono::sys_seconds time) {
  return fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", time);
}

std::string messages_to_json(const std::vector<ListedMessage>& messages) {
  json array = json::array();
  for (const auto& message : messages) array.push_back(to_json(message));
  return dump_json(array);
}

}  // namespace byocd
