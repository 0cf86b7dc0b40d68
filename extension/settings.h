// The extension's own settings (postgresql.conf, ALTER SYSTEM, SET).
#pragma once

namespace byoc {

enum WakeupMode { wakeup_notify, wakeup_poll };

extern char* keyring_file;     // byoc.keyring_file
extern char* keyring_command;  // byoc.keyring_command
extern char* jwks_file;        // byoc.jwks_file
extern char* jwt_issuer;       // byoc.jwt_issuer
extern char* jwt_audience;     // byoc.jwt_audience
extern char* jwt_org_claim;    // byoc.jwt_org_claim
extern int wakeup_mode;        // byoc.wakeup
extern int fallback;           // byoc.fallback: a version in byoc.fallback_senders, 0 for none

// Defines the settings; called once, while shared_preload_libraries are loaded.
void define_settings();

}  // namespace byoc
