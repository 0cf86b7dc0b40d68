// What Twilio says about a message after it took it: by a callback
// (https://www.twilio.com/docs/messaging/guides/track-outbound-message-status).
#pragma once

#include <optional>
#include <string_view>

#include "../db/receipt.h"

namespace byocd {

/// Reads a status callback, a form or JSON. Parameters that are not known are ignored; nothing when there is no SID of
/// a message or no status in it.
std::optional<ReceiptFacts> read_status_callback(std::string_view content_type, std::string_view body);

}  // namespace byocd
