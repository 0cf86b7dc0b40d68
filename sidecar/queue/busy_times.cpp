#include "busy_times.h"

#include "../providers/calendar_provider.h"

namespace byocd {

namespace {

Problem not_now() {
  return {"no_answer", "The credential cannot be opened now.", "Try again.", true};
}

}  // namespace

void CalendarBusyTimes::ask(const BusyQuestion& question, std::function<void(Answer)> callback) {
  parts_.credentials.get(question.credential, question.credential_version,
                         [this, question, callback = std::move(callback)](const CredentialCache::Answer& answer) {
                           if (!answer) return callback(fail(not_now()));
                           parts_.tokens.get(*answer,
                                             [this, question, callback](const AccessTokens::Answer& authorized) {
                                               if (!authorized) return callback(fail(Problem(authorized.error())));
                                               send(question, *authorized, callback);
                                             });
                         });
  parts_.credentials.flush();
}

void CalendarBusyTimes::send(const BusyQuestion& question, const CredentialCache::Credential& credential,
                             const std::function<void(Answer)>& callback) {
  const auto* provider = parts_.registry.find_as<CalendarProvider>(credential->provider);
  if (!provider) return callback(fail(not_now()));
  parts_.http.send(provider->prepare_busy(credential->fields, question.from, question.to),
                   [this, provider, credential, callback](const HttpResult& result) {
                     if (result && result->status == 401) parts_.tokens.refused(credential);
                     callback(provider->interpret_busy(credential->fields, result));
                   });
  parts_.http.flush();
}

}  // namespace byocd
