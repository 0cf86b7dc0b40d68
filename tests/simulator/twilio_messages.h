/// The Messages resource (https://www.twilio.com/docs/messaging/api/message-resource): create, list, fetch.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "accounts.h"
#include "delivery.h"
#include "form.h"
#include "http.h"
#include "lists.h"
#include "messages.h"
#include "statistics.h"
#include "twilio_errors.h"

namespace simulator {

class twilio_messages {
 public:
  /// Called with every accepted message that wants callbacks.
  using watcher = std::function<void(const message&)>;

  twilio_messages(message_store& store, const delivery_settings& delivery, const list_settings& lists,
                  statistics& stats, watcher on_callback_wanted)
      : store_(store),
        delivery_(delivery),
        lists_(lists),
        stats_(stats),
        on_callback_wanted_(std::move(on_callback_wanted)) {}

  answer create(const account& sender, const request& asked);
  answer list(const account& owner, const request& asked) const;
  answer fetch(const account& owner, std::string_view sid, const request& asked) const;

 private:
  message_store& store_;
  const delivery_settings& delivery_;
  const list_settings& lists_;
  statistics& stats_;
  watcher on_callback_wanted_;
};

/// A Message resource as it stands at `when`; with an empty body if that is redacted.
std::string message_resource(std::string_view account_sid, const message& subject, timestamp when,
                             bool redact_body = false);

/// Reads the list filters To, From and DateSent (also `DateSent>` and `DateSent<`, both inclusive; a date without a
/// time is a whole GMT day). Nothing when a date cannot be read.
std::optional<message_filter> message_filter_from(const form& query);

}  // namespace simulator
