// What Twilio posts to us: a message's status
// (https://www.twilio.com/docs/messaging/guides/track-outbound-message-status) and messages that came in
// (https://www.twilio.com/docs/messaging/guides/webhook-request).
#pragma once

#include <optional>
#include <string_view>

#include "../db/receipt.h"

namespace byocd {

/// Reads a status callback, a form or JSON. Parameters that are not known are ignored; nothing when there is no SID of
/// a message or no status in it.
std::optional<ReceiptFacts> read_status_callback(std::string_view content_type, std::string_view body);

/// Reads a message that came in; nothing when there is no SID of a message or no sender in it.
std::optional<InboundMessage> read_inbound_message(std::string_view content_type, std::string_view body);

}  // namespace byocd
