#include "settings.h"

#include "pg_boundary.h"
#include "tenant_context.h"

namespace byoc {

char* keyring_file = nullptr;
char* keyring_command = nullptr;
char* jwks_file = nullptr;
char* jwt_issuer = nullptr;
char* jwt_audience = nullptr;
char* jwt_org_claim = nullptr;
int wakeup_mode = wakeup_notify;
int fallback = 0;

namespace {
char* token = nullptr;  // the setting's own storage; its meaning is kept by tenant_context
// SQL reads these two.
bool require_verified = true;
int verification_interval = 24 * 60 * 60;

const config_enum_entry wakeup_modes[] = {
    {"notify", wakeup_notify, false},
    {"poll", wakeup_poll, false},
    {nullptr, 0, false},
};
}  // namespace

void define_settings() {
  DefineCustomStringVariable("byoc.keyring_file", "File that holds the master keys.",
                             "Readable by the server's user only. Make one with: byocd keyring generate", &keyring_file,
                             "", PGC_SIGHUP, GUC_SUPERUSER_ONLY, nullptr, nullptr, nullptr);
  DefineCustomStringVariable("byoc.keyring_command",
                             "Shell command that prints the key ring, instead of byoc.keyring_file.",
                             "Run by the server's user when the server starts and by byoc.reload_keyring().",
                             &keyring_command, "", PGC_SIGHUP, GUC_SUPERUSER_ONLY, nullptr, nullptr, nullptr);
  DefineCustomStringVariable(
      "byoc.jwks_file", "File with the keys that JSON Web Tokens are verified with.",
      "A JWK Set (RFC 7517), writable by the server's user only. It is read again at each reload.", &jwks_file, "",
      PGC_SIGHUP, GUC_SUPERUSER_ONLY, nullptr, nullptr, nullptr);
  DefineCustomStringVariable("byoc.jwt_issuer", "What a token's claim \"iss\" must be.", "Empty: it is not checked.",
                             &jwt_issuer, "", PGC_SIGHUP, GUC_SUPERUSER_ONLY, nullptr, nullptr, nullptr);
  DefineCustomStringVariable("byoc.jwt_audience", "What a token's claim \"aud\" must be or contain.",
                             "Empty: it is not checked.", &jwt_audience, "", PGC_SIGHUP, GUC_SUPERUSER_ONLY, nullptr,
                             nullptr, nullptr);
  DefineCustomStringVariable(
      "byoc.jwt_org_claim", "The claim that holds the organization's id.",
      "A claim's name, or names separated by dots that lead into objects, such as app_metadata.org_id.", &jwt_org_claim,
      "org_id", PGC_SIGHUP, GUC_SUPERUSER_ONLY, nullptr, nullptr, nullptr);
  DefineCustomEnumVariable("byoc.wakeup", "How queued work wakes the dispatcher.",
                           "notify: a NOTIFY at commit when a dispatcher sleeps. poll: never, for transaction poolers "
                           "and distributed transactions.",
                           &wakeup_mode, wakeup_notify, wakeup_modes, PGC_USERSET, 0, nullptr, nullptr, nullptr);
  DefineCustomBoolVariable("byoc.require_verified", "Only credentials that were verified with their provider send.",
                           "Off: also those that were not verified yet. One that failed never sends.",
                           &require_verified, true, PGC_SUSET, 0, nullptr, nullptr, nullptr);
  DefineCustomIntVariable("byoc.verification_interval", "How often a verified credential is verified again.",
                          "0: never by itself. A change takes effect at each credential's next verification.",
                          &verification_interval, verification_interval, 0, INT_MAX, PGC_SUSET, GUC_UNIT_S, nullptr,
                          nullptr, nullptr);
  DefineCustomIntVariable("byoc.fallback", "Account of the environment that this session of byocd may send with.",
                          "Set by byoc.announce_fallback(); of no use to other sessions. 0: none.", &fallback, 0, 0,
                          INT_MAX, PGC_USERSET, GUC_NO_SHOW_ALL | GUC_NOT_IN_SAMPLE | GUC_DISALLOW_IN_FILE, nullptr,
                          nullptr, nullptr);
  DefineCustomStringVariable("byoc.token", "Signed token that proves the tenant context.", nullptr, &token, "",
                             PGC_USERSET, GUC_NO_SHOW_ALL | GUC_NOT_IN_SAMPLE | GUC_DISALLOW_IN_FILE,
                             check_token_setting, assign_token_setting, show_token_setting);
  MarkGUCPrefixReserved("byoc");
}

}  // namespace byoc
