#include "daemon.h"

#include <algorithm>
#include <cmath>
#include <csignal>
#include <cstdlib>
#include <memory>

#include "api/dashboard.h"
#include "daemon_parts.h"
#include "log.h"
#include "providers/google_calendar.h"
#include "providers/stripe.h"
#include "providers/twilio.h"
#include "providers/webhook.h"
#include "version.h"

namespace byocd {

extern const std::string_view embedded_openapi;

namespace {

using namespace std::chrono_literals;

constexpr std::chrono::duration<double> longest_wait_for_a_request = 250ms;
constexpr double most_jobs_a_request = 16;

// A NOTIFY does not say what it is about. Messages are looked for first: who looks for calls meanwhile makes them wait.
constexpr auto messages_lead = 3ms;

// Outcomes that may wait for the database before claiming stops: bounds memory, and what a crash leaves unknown. As
// many as jobs may wait for a request: a commit that takes long must not starve the provider of either.
std::size_t unrecorded_limit(int slots) {
  return std::max(std::size_t{256}, static_cast<std::size_t>(most_jobs_a_request) * static_cast<std::size_t>(slots));
}

Registry make_registry(const Config& config) {
  Registry registry;
  registry.add(std::make_unique<Twilio>(config.twilio_base_url));
  registry.add(std::make_unique<GoogleCalendar>(config.google_api_url,
                                                GoogleOAuth(config.google_oauth_url, config.google_client)));
  registry.add(std::make_unique<Stripe>(config.stripe_base_url));
  registry.add(std::make_unique<Webhook>(
      [] { return std::chrono::floor<std::chrono::seconds>(std::chrono::system_clock::now()); }));
  return registry;
}

std::optional<std::string> environment(const std::string& name) {
  const char* value = std::getenv(name.c_str());
  return value != nullptr ? std::optional<std::string>(value) : std::nullopt;
}

// For all that needs no session of its own.
Database work_database(const Config& config, const Database& direct) {
  Database work = direct;
  if (config.pooled_database_url.empty()) return work;
  work.conninfo = config.pooled_database_url;
  work.pooled = true;
  return work;
}

}  // namespace

Daemon::Daemon(const Config& config, Reload reload)
    : config_(config),
      reload_(std::move(reload)),
      service_(loop_, environment),
      direct_{config.database_url, &instruments_},
      work_(work_database(config, direct_)),
      identities_(config.lease),
      lanes_(config.max_in_flight, config.max_in_flight_per_account),
      registry_(make_registry(config)),
      gateway_(loop_, {direct_, work_, config.lease, config.poll_interval, [this] { return identities_.renew(); },
                       [this] { return identities_.current(); }, config.fallback}),
      receipt_gateway_(loop_, work_, config.fallback),
      monitor_gateway_(loop_, work_),
      oauth_gateway_(receipt_gateway_.connection()),
      tenants_(loop_, {work_, config.tenant_role, config.api_connections}),
      http_(loop_, {config.request_timeout, config.max_in_flight, std::string("byocd/") + version,
                    config.allowed_webhook_networks}),
      credentials_(gateway_, loop_, config.fallback),
      tokens_(registry_, http_, loop_),
      receipt_addresses_(receipt_gateway_, loop_, config.public_url, [this] { claimer_.advance(); }),
      receipt_recorder_(receipt_gateway_, loop_),
      status_poller_({receipt_gateway_, registry_, http_, credentials_, receipt_recorder_, loop_}, config.poll_interval,
                     [this] { return gateway_.can_claim() && gateway_.can_record(); }),
      status_webhook_({receipt_gateway_, credentials_, receipt_recorder_, loop_},
                      {config.public_url, config.accept_unsigned_receipts}),
      inbound_webhook_(receipt_gateway_, credentials_, config.public_url),
      recorder_(
          gateway_, loop_, identities_,
          {[this] { claimer_.advance(); }, [this](const std::vector<JobOutcome>& outcomes) { on_recorded(outcomes); }}),
      dispatcher_({registry_, http_, credentials_, identities_, lanes_, retry_policy_, loop_},
                  {[this](JobOutcome outcome) {
                     instruments_.ended(outcome);
                     recorder_.add(std::move(outcome));
                   },
                   [this] {
                     lanes_.scale(jobs_a_request());
                     claimer_.advance();
                   },
                   [this](const ClaimedJob& job, bool verifiable) { return receipt_address(job, verifiable); }}),
      claimer_(gateway_, loop_, lanes_,
               {[this] { return lanes_.slots(); }, [this] { return lanes_.free_slots(); },
                [this] { return jobs_a_request(); },
                [this] {
                  return recorder_.unrecorded() < unrecorded_limit(config_.max_in_flight) &&
                         receipt_addresses_.settled();
                },
                [this] { return dispatcher_.typical_duration(); },
                [this](std::vector<ClaimedJob> jobs) { on_jobs(std::move(jobs)); }, [this] { call_runner_.wake(); }},
               {config.poll_interval}),
      rescuer_(gateway_, loop_, identities_,
               {[this] { return recorder_.known(); }, [this] { return recorder_.recorded(); },
                [this](int jobs) { instruments_.rescued(jobs); }},
               config.lease),
      sealer_(gateway_, loop_),
      verifier_({gateway_, registry_, http_, credentials_, tokens_, loop_}, config.poll_interval),
      reconciler_({gateway_, registry_, http_, credentials_, loop_}, config.poll_interval),
      call_runner_({gateway_, registry_, http_, credentials_, tokens_, loop_}, {config.poll_interval, config.lease},
                   [this](const ClaimedCall& call, const CallOutcome& outcome, Clock::duration duration) {
                     instruments_.called(call.credential_type, outcome.kind, duration);
                   }),
      busy_times_({registry_, http_, credentials_, tokens_}),
      revoker_({oauth_gateway_, registry_, http_, loop_}, config.poll_interval),
      rest_api_(tenants_, busy_times_, loop_, {config.public_url, config.allowed_origins, config.api_rate}),
      google_({tenants_, oauth_gateway_, http_, [this](const ApiRequest& request) { return rest_api_.admit(request); }},
              *registry_.find("google_calendar")->oauth(), {"/api/auth/google", "google_calendar", config.public_url}),
      monitoring_(monitor_gateway_, loop_, instruments_, {[this] { return readiness(); }, [this] { return gauges(); }},
                  config.metrics_organizations),
      server_(loop_, config.http_host, config.http_port, config.allowed_origins),
      on_term_(loop_.on_signal(SIGTERM, [this] { on_signal(); })),
      on_int_(loop_.on_signal(SIGINT, [this] { on_signal(); })),
      on_hup_(loop_.on_signal(SIGHUP, [this] { this->reload(); })),
      drain_timer_(loop_.make_timer([this] { check_drain(); })),
      calls_timer_(loop_.make_timer([this] { call_runner_.wake(); })) {
  gateway_.set_handlers({[this] { connection_changed(); },
                         [this] {
                           instruments_.notified();
                           claimer_.wake();
                           verifier_.wake();
                           if (!calls_timer_->pending()) calls_timer_->start(messages_lead);
                           revoker_.wake();
                         }});
  for (const auto provider : registry_.names_of<CallProvider>()) instruments_.expect_calls(provider);
  receipt_gateway_.set_handler([this] { receipt_connection_changed(); });
  if (!config.public_url.empty()) {
    server_.route("POST", "/webhooks/twilio/status/{token}", [this](const ApiRequest& request, Reply reply) {
      status_webhook_.handle(request, std::move(reply));
    });
    server_.route("POST", "/webhooks/twilio/inbound/{credential}", [this](const ApiRequest& request, Reply reply) {
      inbound_webhook_.handle(request, std::move(reply));
    });
  }
  rest_api_.add_routes(server_.router());
  google_.add_routes(server_.router());
  Dashboard(embedded_pages(), config.frame_ancestors).add_routes(server_.router());
  server_.get("/api/openapi.json", [] {
    return ApiAnswer{200, "application/json", std::string(embedded_openapi), {}, {}};
  });
  monitoring_.add_routes(server_.router());
  server_.observe(
      [this](const ApiRequest& request, std::string_view route, int status) { on_answered(request, route, status); });
}

// A claim costs the more for each message the fewer it brings, and while one is on its way requests end; on a disk that
// is busy a commit may take a quarter of a second. So jobs may wait for a request, as long as that takes.
double Daemon::jobs_a_request() const {
  const auto typical = dispatcher_.typical_duration();
  if (typical.count() == 0) return 1;
  // In steps: each change has every lane counted anew.
  const double jobs = std::round(4 * (1 + longest_wait_for_a_request / typical)) / 4;
  return std::min(jobs, most_jobs_a_request);
}

void Daemon::connection_changed() {
  // What is known goes to the database before leases are renewed, and before anything is rescued or claimed.
  tell_status();
  recorder_.connection_changed();
  rescuer_.connection_changed();
  sealer_.connection_changed();
  call_runner_.connection_changed();
  if (draining_) return;
  claimer_.connection_changed();
  verifier_.connection_changed();
  reconciler_.connection_changed();
}

void Daemon::receipt_connection_changed() {
  receipt_addresses_.connection_changed();
  status_poller_.connection_changed();
  revoker_.wake();
}

std::optional<std::string> Daemon::receipt_address(const ClaimedJob& job, bool verifiable) const {
  if (!verifiable && !config_.accept_unsigned_receipts) return std::nullopt;
  return receipt_addresses_.address_for(job);
}

void Daemon::on_recorded(const std::vector<JobOutcome>& outcomes) {
  status_poller_.expect(outcomes);
  std::vector<SentMessage> refused;
  for (const auto& outcome : outcomes)
    if (outcome.outcome.kind == OutcomeKind::rejected && outcome.outcome.http_status)
      refused.push_back({outcome.org_id, outcome.id});
  if (refused.empty()) return;
  // Should this be lost, the next message to the same number is refused again, and tells again.
  receipt_gateway_.note_refusals(refused, [](const Result<Done, DbError>& result) {
    if (!result && !result.error().connection_lost) log::error("noting refusals failed: {}", result.error().text());
  });
}

void Daemon::on_jobs(std::vector<ClaimedJob> jobs) {
  instruments_.claimed(jobs.size());
  recorder_.expect(jobs);
  dispatcher_.dispatch(std::move(jobs));
}

Readiness Daemon::readiness() const {
  Readiness readiness;
  readiness.can_claim = gateway_.can_claim();
  readiness.can_record = gateway_.can_record();
  readiness.draining = draining_;
  return readiness;
}

Gauges Daemon::gauges() const {
  Gauges gauges;
  gauges.jobs_in_flight = dispatcher_.in_flight();
  gauges.requests_in_flight = lanes_.sent();
  gauges.most_requests_in_flight = config_.max_in_flight;
  gauges.unrecorded_outcomes = recorder_.unrecorded();
  gauges.calls_in_flight = call_runner_.in_flight();
  gauges.draining = draining_;
  return gauges;
}

// Not the path: a callback's holds a token.
void Daemon::on_answered(const ApiRequest& request, std::string_view route, int status) {
  const auto duration = Clock::now() - request.since;
  instruments_.answered(request.method, std::string(route.empty() ? "none" : route), status, duration);
  const auto level = status == 500 ? log::Level::error : log::Level::debug;
  if (!log::enabled(level)) return;
  log::write(level,
             fmt::format("request {}: {} {} was answered with {} after {} us", request.id, request.method,
                         route.empty() ? "an unknown path" : route, status,
                         std::chrono::duration_cast<std::chrono::microseconds>(duration).count()),
             {{"request_id", request.id}});
}

int run_daemon(const Config& config, const Reload& reload) {
  return Daemon(config, reload).run();
}

}  // namespace byocd
