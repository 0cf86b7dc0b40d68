#include "delivery.h"

namespace simulator {
namespace {
constexpr std::array<std::string_view, 7> status_names = {"accepted",  "queued",      "sending", "sent",
                                                          "delivered", "undelivered", "failed"};
}

std::string_view to_string(message_status status) {
  return status_names[static_cast<std::size_t>(status)];
}

std::optional<message_status> callback_status_from(std::string_view name) {
  for (std::size_t i = 1; i < status_names.size(); ++i) {
    if (status_names[i] == name) return static_cast<message_status>(i);
  }
  return std::nullopt;
}

int default_error_code(message_status status) {
  if (status == message_status::undelivered) return 30003;
  return status == message_status::failed ? 30008 : 0;
}

course plan_course(const delivery_settings& settings, std::string_view to, bool with_service) {
  const auto particular = settings.recipients.find(to);
  const auto& ending = particular == settings.recipients.end() ? settings.final : particular->second;
  course result;
  std::uint32_t at = 0;
  bool goes_on = true;
  const auto move = [&](message_status status, std::optional<std::uint32_t> delay) {
    goes_on = goes_on && delay.has_value();
    if (!goes_on) return;
    at += *delay;
    result.steps[result.count++] = {status, at};
  };
  if (with_service) move(message_status::queued, settings.queued_ms);
  move(message_status::sending, settings.sending_ms);
  // Twilio's `failed` means that the message was never sent; `undelivered` comes after `sent`.
  if (ending.status != message_status::failed) move(message_status::sent, settings.sent_ms);
  move(ending.status, settings.final_ms);
  if (goes_on) result.error_code = static_cast<std::uint16_t>(ending.error_code);
  return result;
}

}  // namespace simulator
