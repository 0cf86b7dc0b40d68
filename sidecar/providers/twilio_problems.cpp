#include "twilio_problems.h"

#include <fmt/format.h>

#include <map>

#include "json_object.h"

namespace byocd {

namespace {

struct Explanation {
  const char* cause;
  const char* fix;
};

const std::map<std::string, Explanation>& explanations() {
  static const std::map<std::string, Explanation> all{
      {"20003",
       {"Twilio does not accept this SID and secret (20003): one of them is wrong, was rotated, or the account is "
        "closed.",
        "Copy both again from the Twilio console."}},
      {"20008",
       {"These are Twilio's test credentials (20008), which send nothing.",
        "Use the live account SID and auth token of the Twilio console."}},
      {"20429", {"Twilio has too many requests from this account (20429).", "Try again in a minute."}},
      {"21211",
       {"The recipient's number is not valid (21211).",
        "Write it in E.164 form, such as +14155550100, and try again."}},
      {"21212",
       {"The sender's number is not valid (21212).",
        "Give the number as Twilio shows it under Active Numbers, in E.164 form such as +14155550100."}},
      {"21408",
       {"The account may not send to the recipient's country (21408).",
        "Enable it in the Twilio console under Messaging > Settings > Geo permissions."}},
      {"21606",
       {"The sender's number does not belong to this account, or cannot send SMS (21606).",
        "Buy it, or pick one under Phone Numbers > Active Numbers."}},
      {"21608",
       {"This is a trial account and the recipient is not verified (21608).",
        "Verify the recipient in the Twilio console under Verified Caller IDs, or upgrade the account."}},
      {"21610",
       {"The recipient has opted out by STOP (21610).",
        "Choose another recipient, or have this one answer START to the sender's number."}},
      {"21611",
       {"The sender's queue at Twilio is full (21611).", "Wait until it drains, or send from a faster number."}},
      {"21612",
       {"The recipient cannot be reached from this sender (21612).",
        "Use a sender of the recipient's country, or another recipient."}},
      {"21614", {"The recipient's number is not a mobile number (21614).", "Choose a mobile number."}},
      {"21701",
       {"The Messaging Service does not exist in this account (21701).",
        "Copy its SID again from the Twilio console under Messaging > Services."}},
      {"21703",
       {"The Messaging Service has no sender (21703).",
        "Add a number to its sender pool in the Twilio console under Messaging > Services."}},
      {"21704",
       {"The Messaging Service has no sender for this recipient (21704).",
        "Add a number to its sender pool that can send to the recipient's country."}},
      {"21705",
       {"The Messaging Service SID is not valid (21705).",
        "Copy it again from the Twilio console under Messaging > Services."}},
      {"30002",
       {"This Twilio account is suspended (30002), perhaps because its credit is used up.",
        "Add a payment method, or contact Twilio's support."}},
      {"30003",
       {"The recipient's phone is off, out of reach or does not exist (30003).",
        "Try again, or choose another recipient."}},
      {"30004", {"The recipient blocks messages (30004).", "Choose another recipient."}},
      {"30005", {"The recipient's number does not exist any more (30005).", "Choose another recipient."}},
      {"30006",
       {"The recipient's number is a landline or its carrier cannot be reached (30006).", "Choose a mobile number."}},
      {"30007",
       {"The carrier filtered the message as unwanted (30007).",
        "Register the sender (A2P 10DLC or toll-free verification) in the Twilio console."}},
      {"30008", {"The carrier did not deliver the message and gave no reason (30008).", "Try again."}},
      {"30032",
       {"The toll-free number is not verified (30032).",
        "Complete toll-free verification in the Twilio console under Phone Numbers > Regulatory compliance."}},
      {"30034",
       {"The number is not registered for A2P 10DLC (30034).",
        "Register brand and campaign in the Twilio console under Messaging > Regulatory compliance."}},
  };
  return all;
}

}  // namespace

Problem twilio_problem(const std::string& code, const std::string& message) {
  const auto found = explanations().find(code);
  if (found != explanations().end()) return {code, found->second.cause, found->second.fix};
  return {code, fmt::format("Twilio reports error {}{}.", code, message.empty() ? "" : ": " + message),
          fmt::format("See https://www.twilio.com/docs/api/errors/{}.", code)};
}

Problem twilio_answer_problem(const HttpResponse& response) {
  const auto document = JsonObject::parse(response.body);
  const int code = document ? document->number("code").value_or(0) : 0;
  if (response.status >= 500 || response.status == 429)
    return {code != 0 ? std::to_string(code) : fmt::format("http_{}", response.status),
            fmt::format("Twilio answered HTTP {}: it does not take requests now.", response.status),
            "Try again in a minute; https://status.twilio.com tells about outages.", true};
  if (response.status < 400 || !document) return foreign_answer_problem(response.status);
  if (code != 0) return twilio_problem(std::to_string(code), document->text("message").value_or(""));
  if (response.status == 401) return twilio_problem("20003", "");
  return {fmt::format("http_{}", response.status),
          fmt::format("Twilio refused the request with HTTP {}.", response.status),
          "Check account SID and, with an API key, the key's permissions."};
}

Problem foreign_answer_problem(int http_status) {
  return {"bad_answer", fmt::format("What answered (HTTP {}) does not speak Twilio's API.", http_status),
          "Check the provider's base URL if one is set, and whether a proxy answers in Twilio's place.", true};
}

}  // namespace byocd
