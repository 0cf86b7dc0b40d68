#include "callbacks.h"

#include <algorithm>

#include "signature.h"

namespace simulator {

form callback_form(std::string_view account_sid, const message& subject, const step& reached) {
  form result;
  result.add("SmsSid", subject.sid_text());
  result.add("SmsStatus", to_string(reached.status));
  result.add("MessageStatus", to_string(reached.status));
  result.add("To", subject.to);
  if (subject.with_service) result.add("MessagingServiceSid", subject.messaging_service_sid);
  result.add("MessageSid", subject.sid_text());
  result.add("AccountSid", account_sid);
  result.add("From", subject.from);
  result.add("ApiVersion", "2010-04-01");
  const bool is_last = &reached == subject.moves.end() - 1;
  if (is_last && subject.moves.error_code != 0) result.add("ErrorCode", std::to_string(subject.moves.error_code));
  return result;
}

callback_schedule::callback_schedule(event_base* base, const account_store& accounts, const message_store& store,
                                     const delivery_settings& delivery, callback_client& client, statistics& stats)
    : accounts_(accounts),
      store_(store),
      delivery_(delivery),
      client_(client),
      stats_(stats),
      timer_(evtimer_new(base, on_timer, this)),
      draws_(delivery.seed) {}

void callback_schedule::watch(const message& subject) {
  const auto serial = store_.serial(store_.size() - 1);
  const auto count = subject.moves.count;
  const auto at = [&](std::uint8_t index) {
    return subject.received + std::chrono::milliseconds(subject.moves.steps[index].after_ms);
  };
  for (std::uint8_t i = 0; i < count; ++i) {
    const auto index = static_cast<std::uint8_t>(delivery_.out_of_order ? count - 1 - i : i);
    const auto when = at(delivery_.out_of_order ? static_cast<std::uint8_t>(count - 1) : index);
    for (std::uint32_t copy = 0; copy <= delivery_.repeat; ++copy) queue_.push({when, next_order_++, serial, index});
  }
  arm();
}

void callback_schedule::arm() {
  if (queue_.empty()) return;
  const auto wait = std::max(std::chrono::microseconds(0), queue_.top().when - now());
  const timeval delay{static_cast<time_t>(wait.count() / 1'000'000),
                      static_cast<suseconds_t>(wait.count() % 1'000'000)};
  evtimer_add(timer_.get(), &delay);
}

void callback_schedule::on_timer(evutil_socket_t, short, void* context) {
  auto& self = *static_cast<callback_schedule*>(context);
  const auto moment = now();
  while (!self.queue_.empty() && self.queue_.top().when <= moment) {
    const auto callback = self.queue_.top();
    self.queue_.pop();
    self.post(callback);
  }
  self.arm();
}

void callback_schedule::post(const due& callback) {
  const auto* subject = store_.find(callback.serial);
  if (subject == nullptr) return;  // the store was cleared
  const auto& reached = subject->moves.steps[callback.step];
  const auto& swallowed = delivery_.drop_statuses;
  const bool drawn = delivery_.drop_probability > 0 && draws_.fraction() < delivery_.drop_probability;
  if (drawn || std::find(swallowed.begin(), swallowed.end(), reached.status) != swallowed.end()) {
    ++stats_.callbacks.dropped;
    return;
  }
  const auto& account_sid = store_.account_sid(*subject);
  const auto* owner = accounts_.find(account_sid);
  if (owner == nullptr) {  // removed meanwhile: there is no token to sign with
    ++stats_.callbacks.failed;
    return;
  }
  const auto fields = callback_form(account_sid, *subject, reached);
  client_.post(subject->status_callback, fields.encoded(),
               twilio_signature(owner->auth_token, subject->status_callback, fields), callback.serial);
}

}  // namespace simulator
