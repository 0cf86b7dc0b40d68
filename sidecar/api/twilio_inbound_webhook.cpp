#include "twilio_inbound_webhook.h"

#include <utility>

#include "../log.h"
#include "../providers/provider.h"
#include "../providers/twilio_signature.h"
#include "../providers/twilio_status.h"
#include "../uuid.h"

namespace byocd {

namespace {

ApiAnswer no_reply() {
  return {200, "text/xml", "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Response/>\n", {}, {}};
}

ApiAnswer message_not_taken() {
  return problem_answer(503, "Service Unavailable", "The message cannot be taken at the moment. Try again.");
}

ApiAnswer unknown_credential() {
  return problem_answer(404, "Not Found", "There is no such active credential.");
}

ApiAnswer not_of_credential() {
  return problem_answer(403, "Forbidden",
                        "The signature is not that of the credential's account over this server's public URL.");
}

}  // namespace

TwilioInboundWebhook::TwilioInboundWebhook(ReceiptGateway& gateway, CredentialCache& credentials,
                                           std::string public_url)
    : gateway_(gateway), credentials_(credentials), public_url_(std::move(public_url)) {}

void TwilioInboundWebhook::handle(const ApiRequest& request, Reply reply) {
  if (request.header("x-twilio-signature").empty())
    return reply(problem_answer(401, "Unauthorized", "The header X-Twilio-Signature is missing."));
  if (!is_uuid(request.parameter)) return reply(unknown_credential());
  auto message = read_inbound_message(request.header("content-type"), request.body);
  if (!message)
    return reply(problem_answer(400, "Bad Request", "The body is not a message: MessageSid or From is missing."));
  const auto arrival = std::make_shared<const Arrival>(Arrival{request, std::move(*message), std::move(reply)});
  gateway_.inbound_credential(request.parameter, [this, arrival](const auto& result) {
    if (!result) return arrival->reply(message_not_taken());
    const auto& found = *result;
    if (!found) return arrival->reply(unknown_credential());
    credentials_.get({found->org_id, arrival->request.parameter}, found->version,
                     [this, arrival, org_id = found->org_id](const CredentialCache::Answer& answer) {
                       on_credential(arrival, org_id, answer);
                     });
    credentials_.flush();
  });
}

void TwilioInboundWebhook::on_credential(const ArrivalPtr& arrival, const std::string& org_id,
                                         const CredentialCache::Answer& answer) {
  if (!answer) return arrival->reply(message_not_taken());
  const ApiRequest& request = arrival->request;
  const SecretString* auth_token = find_field((*answer)->fields, "auth_token");
  const std::string url = public_url_ + request.target();
  if (auth_token && is_signed_by(auth_token->reveal(), {url, request.header("content-type"), request.body,
                                                        request.header("x-twilio-signature")}))
    return record(arrival, org_id);
  log::warn("a message for credential {} of organization {} is not signed by its account over {}", request.parameter,
            org_id, public_url_);
  arrival->reply(not_of_credential());
}

void TwilioInboundWebhook::record(const ArrivalPtr& arrival, const std::string& org_id) {
  gateway_.record_inbound(org_id, arrival->request.parameter, arrival->message, [arrival, org_id](const auto& result) {
    if (result && !*result) return arrival->reply(no_reply());
    log::error(
        "a message to organization {} could not be kept: {}", org_id,
        result ? "a trigger on byoc.inbound_messages failed with SQLSTATE " + result->value() : result.error().text());
    arrival->reply(message_not_taken());
  });
}

}  // namespace byocd
