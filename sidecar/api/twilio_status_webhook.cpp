#include "twilio_status_webhook.h"

#include <algorithm>
#include <utility>

#include "../log.h"
#include "../providers/provider.h"
#include "../providers/twilio_signature.h"
#include "../providers/twilio_status.h"
#include "crypto/receipt_token.h"

namespace byocd {

namespace {

using namespace std::chrono_literals;

// More than two seconds' worth at 1,000 a second; what comes on top is better asked to come again than queued.
constexpr int most_pending = 2048;

// As the gateway wants tokens.
bool looks_like_token(const std::string& text) {
  return text.size() == byoc::receipt_token_capacity - 2 && std::all_of(text.begin(), text.end(), [](unsigned char c) {
           return std::isalnum(c) != 0 || c == '-' || c == '_';
         });
}

ApiAnswer receipt_not_taken() {
  return problem_answer(503, "Service Unavailable", "The receipt cannot be recorded at the moment. Try again.");
}

ApiAnswer unknown_token() {
  return problem_answer(404, "Not Found", "The token does not belong to any message here.");
}

ApiAnswer not_of_message() {
  return problem_answer(403, "Forbidden",
                        "The signature is not that of the message's account over this server's public URL.");
}

}  // namespace

TwilioStatusWebhook::TwilioStatusWebhook(Parts parts, Options options)
    : parts_(parts), options_(std::move(options)), look_up_timer_(parts.timers.make_timer([this] { look_up(); })) {}

void TwilioStatusWebhook::handle(const ApiRequest& request, Reply reply) {
  const std::string& signature = request.header("x-twilio-signature");
  if (signature.empty()) return reply(problem_answer(401, "Unauthorized", "The header X-Twilio-Signature is missing."));
  if (!looks_like_token(request.parameter)) return reply(unknown_token());
  const std::string& content_type = request.header("content-type");
  auto facts = read_status_callback(content_type, request.body);
  if (!facts)
    return reply(problem_answer(400, "Bad Request",
                                "The body is not a status callback: MessageSid or MessageStatus "
                                "is missing or not in its form."));
  if (stopped_ || pending_ >= most_pending || !parts_.gateway.ready()) return reply(receipt_not_taken());
  ++pending_;
  waiting_.push_back(
      std::make_shared<Callback>(Callback{request.parameter, options_.public_url + request.target(), content_type,
                                          request.body, signature, std::move(*facts), std::move(reply)}));
  // In the loop's next turn: what came in during this one goes together.
  if (!looking_up_ && !look_up_timer_->pending()) look_up_timer_->start(0us);
}

void TwilioStatusWebhook::look_up() {
  if (looking_up_ || waiting_.empty()) return;
  looking_up_ = true;
  auto callbacks = std::exchange(waiting_, {});
  std::vector<std::string> tokens;
  for (const auto& callback : callbacks) tokens.push_back(callback->token);
  parts_.gateway.open_receipts(tokens, [this, callbacks = std::move(callbacks)](auto result) {
    looking_up_ = false;
    if (!result && !result.error().connection_lost)
      log::error("receipt tokens could not be checked: {}", result.error().text());
    for (std::size_t i = 0; i < callbacks.size(); ++i) {
      if (result)
        on_target(callbacks[i], (*result)[i]);
      else
        finish(callbacks[i], receipt_not_taken());
    }
    parts_.credentials.flush();
    look_up();
  });
}

void TwilioStatusWebhook::on_target(const CallbackPtr& callback, const std::optional<ReceiptTarget>& target) {
  if (!target) return finish(callback, unknown_token());
  if (target->credential_id)
    return parts_.credentials.get({target->org_id, *target->credential_id}, target->credential_version,
                                  [this, callback, target = *target](const CredentialCache::Answer& answer) {
                                    on_credential(callback, target, answer);
                                  });
  if (!options_.accept_unsigned) return finish(callback, not_of_message());
  record(callback, *target);
}

void TwilioStatusWebhook::on_credential(const CallbackPtr& callback, const ReceiptTarget& target,
                                        const CredentialCache::Answer& answer) {
  using Kind = CredentialCache::Problem::Kind;
  if (!answer) return finish(callback, answer.error().kind == Kind::inactive ? not_of_message() : receipt_not_taken());
  const SecretString* auth_token = find_field((*answer)->fields, "auth_token");
  const bool good = auth_token ? is_signed_by(auth_token->reveal(), {callback->url, callback->content_type,
                                                                     callback->body, callback->signature})
                               : options_.accept_unsigned;
  if (good) return record(callback, target);
  log::warn({{"message_id", target.id}, {"org_id", target.org_id}},
            "a status callback for message {} of organization {} is not signed by its account over {}", target.id,
            target.org_id, options_.public_url);
  finish(callback, not_of_message());
}

void TwilioStatusWebhook::record(const CallbackPtr& callback, const ReceiptTarget& target) {
  parts_.recorder.add(
      {target.org_id, target.id, target.attempt, callback->facts, false},
      [this, callback](bool recorded) { finish(callback, recorded ? empty_answer() : receipt_not_taken()); });
}

void TwilioStatusWebhook::finish(const CallbackPtr& callback, ApiAnswer answer) {
  --pending_;
  callback->reply(std::move(answer));
}

}  // namespace byocd
