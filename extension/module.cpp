// Entry point of the shared library.

#include "data_keys.h"
#include "failed_authentication.h"
#include "key_check.h"
#include "lock_guard.h"
#include "log_guard.h"
#include "own_tables.h"
#include "pg_boundary.h"
#include "secret_statements.h"
#include "settings.h"
#include "shared_state.h"
#include "sms_trigger.h"
#include "wakeup.h"

extern "C" {
#if PG_VERSION_NUM >= 180000
PG_MODULE_MAGIC_EXT(.name = "pg_byoc", .version = BYOC_VERSION);  // pg_get_loaded_modules() shows them
#else
PG_MODULE_MAGIC;
#endif

void _PG_init(void);

// Called when the library is loaded: by the postmaster, else it is an error that says which line is missing.
void _PG_init(void) {
  using namespace byoc;
  if (!process_shared_preload_libraries_in_progress) (void)shared_state();  // raises
  define_settings();
  install_shared_state_hooks();
  register_start_check();
  install_data_key_callbacks();
  install_failed_authentication_callbacks();
  install_wakeup_callbacks();
  install_own_table_callbacks();
  install_trigger_callbacks();
  install_log_guard();
  install_statistics_guard();
  install_lock_guard();
}
}
