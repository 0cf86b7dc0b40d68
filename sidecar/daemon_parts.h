// All parts of `byocd run`, in the order in which they are made: each knows only those above it. daemon.cpp joins them,
// daemon_life.cpp starts, reloads and stops them.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "api/monitoring.h"
#include "api/oauth_routes.h"
#include "api/rest_api.h"
#include "api/server.h"
#include "api/twilio_inbound_webhook.h"
#include "api/twilio_status_webhook.h"
#include "daemon.h"
#include "db/monitor_gateway.h"
#include "db/pg_gateway.h"
#include "db/receipt_gateway.h"
#include "db/tenant_pool.h"
#include "http/client.h"
#include "loop.h"
#include "providers/registry.h"
#include "queue/access_tokens.h"
#include "queue/busy_times.h"
#include "queue/call_runner.h"
#include "queue/claimer.h"
#include "queue/credential_cache.h"
#include "queue/dispatcher.h"
#include "queue/identities.h"
#include "queue/provider_revoker.h"
#include "queue/receipt_addresses.h"
#include "queue/receipt_recorder.h"
#include "queue/reconciler.h"
#include "queue/recorder.h"
#include "queue/rescuer.h"
#include "queue/retry_policy.h"
#include "queue/sealer.h"
#include "queue/status_poller.h"
#include "queue/verifier.h"
#include "service.h"

namespace byocd {

class Daemon {
 public:
  Daemon(const Config& config, Reload reload);
  int run();

 private:
  double jobs_a_request() const;
  void connection_changed();
  void receipt_connection_changed();
  std::optional<std::string> receipt_address(const ClaimedJob& job, bool verifiable) const;
  void on_recorded(const std::vector<JobOutcome>& outcomes);
  void on_jobs(std::vector<ClaimedJob> jobs);
  void on_signal();
  void reload();
  void tell_status();
  void begin_drain();
  void check_drain();
  bool settled() const;
  void leave(int exit_code);
  Readiness readiness() const;
  Gauges gauges() const;
  void on_answered(const ApiRequest& request, std::string_view route, int status);

  Config config_;
  Reload reload_;
  Loop loop_;
  Service service_;
  Instruments instruments_;
  Database direct_;
  Database work_;
  Identities identities_;
  LaneLoads lanes_;
  RetryPolicy retry_policy_;
  Registry registry_;
  PgGateway gateway_;
  PgReceiptGateway receipt_gateway_;
  PgMonitorGateway monitor_gateway_;
  PgOAuthGateway oauth_gateway_;
  TenantPool tenants_;
  CurlClient http_;
  CredentialCache credentials_;
  AccessTokens tokens_;
  ReceiptAddresses receipt_addresses_;
  ReceiptRecorder receipt_recorder_;
  StatusPoller status_poller_;
  TwilioStatusWebhook status_webhook_;
  TwilioInboundWebhook inbound_webhook_;
  Recorder recorder_;
  Dispatcher dispatcher_;
  Claimer claimer_;
  Rescuer rescuer_;
  Sealer sealer_;
  Verifier verifier_;
  Reconciler reconciler_;
  CallRunner call_runner_;
  CalendarBusyTimes busy_times_;
  ProviderRevoker revoker_;
  RestApi rest_api_;
  OAuthRoutes google_;
  Monitoring monitoring_;
  Server server_;
  std::unique_ptr<SignalWatch> on_term_;
  std::unique_ptr<SignalWatch> on_int_;
  std::unique_ptr<SignalWatch> on_hup_;
  std::unique_ptr<Timer> drain_timer_;
  std::unique_ptr<Timer> calls_timer_;
  bool draining_ = false;
  bool broken_off_ = false;
  Clock::time_point drain_deadline_;
  int exit_code_ = 0;
};

}  // namespace byocd
