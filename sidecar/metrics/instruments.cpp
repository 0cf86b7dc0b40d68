#include "instruments.h"

#include <algorithm>

#include "version.h"

namespace byocd {

namespace {

using Type = Exposition::Type;

constexpr OutcomeKind outcome_kinds[] = {OutcomeKind::accepted,    OutcomeKind::rejected, OutcomeKind::throttled,
                                         OutcomeKind::unavailable, OutcomeKind::unknown,  OutcomeKind::returned};

constexpr CallOutcome::Kind call_outcome_kinds[] = {CallOutcome::Kind::accepted,       CallOutcome::Kind::rejected,
                                                    CallOutcome::Kind::bad_credential, CallOutcome::Kind::throttled,
                                                    CallOutcome::Kind::unavailable,    CallOutcome::Kind::returned};

}  // namespace

// What may happen is shown as 0 before it does: an increase from nothing is none.
Instruments::Instruments() {
  for (const auto kind : outcome_kinds) outcomes_[to_string(kind)] = 0;
}

void Instruments::ended(const JobOutcome& outcome) {
  ++outcomes_[to_string(outcome.outcome.kind)];
  if (outcome.duration.count() > 0 || outcome.outcome.http_status) requests_.observe(outcome.duration);
}

void Instruments::expect_calls(std::string_view provider) {
  ProviderCalls& calls = provider_calls_[std::string(provider)];
  for (const auto kind : call_outcome_kinds) calls.outcomes[to_string(kind)];
}

void Instruments::called(const std::string& provider, CallOutcome::Kind kind, std::chrono::duration<double> duration) {
  const auto calls = provider_calls_.find(provider);
  if (calls == provider_calls_.end()) return;  // of a database that knows more providers
  ++calls->second.outcomes[to_string(kind)];
  calls->second.durations.observe(duration);
}

void Instruments::answered(const std::string& method, const std::string& route, int status,
                           std::chrono::duration<double> duration) {
  Route& counted = routes_[{method, route}];
  ++counted.statuses[status];
  counted.durations.observe(duration);
}

void Instruments::on_connected(const std::string& connection) {
  Sessions& sessions = connections_[connection];
  sessions.connected = true;
  ++sessions.begun;
}

void Instruments::on_lost(const std::string& connection) {
  connections_[connection].connected = false;
}

void Instruments::on_call(const char* statement, std::chrono::duration<double> duration, bool ok) {
  Call& call = calls_[statement];
  call.durations.observe(duration);
  if (!ok) ++call.failed;
}

void Instruments::write(Exposition& exposition, const Gauges& gauges) const {
  exposition.metric("byocd_build_info", Type::gauge, "1; its label tells the version.");
  exposition.sample(1, {{"version", version}});
  write_jobs(exposition, gauges);
  write_calls(exposition, gauges);
  write_database(exposition);
  write_http(exposition);
}

void Instruments::write_jobs(Exposition& exposition, const Gauges& gauges) const {
  const auto single = [&](const char* name, Type type, const char* help, double value) {
    exposition.metric(name, type, help);
    exposition.sample(value);
  };
  single("byocd_jobs_claimed_total", Type::counter, "Messages taken from the queue.", static_cast<double>(claimed_));
  exposition.metric("byocd_outcomes_total", Type::counter, "Attempts by what became of them.");
  for (const auto& [kind, count] : outcomes_) exposition.sample(static_cast<double>(count), {{"outcome", kind}});
  exposition.metric("byocd_request_duration_seconds", Type::histogram, "Requests to providers that send a message.");
  exposition.samples(requests_);
  single("byocd_jobs_in_flight", Type::gauge, "Messages claimed and without an outcome.", gauges.jobs_in_flight);
  single("byocd_requests_in_flight", Type::gauge, "Requests on their way to providers.", gauges.requests_in_flight);
  single("byocd_requests_in_flight_max", Type::gauge, "How many may be on their way at the same time.",
         gauges.most_requests_in_flight);
  single("byocd_outcomes_unrecorded", Type::gauge, "Outcomes that the database does not know yet.",
         static_cast<double>(gauges.unrecorded_outcomes));
  single("byocd_jobs_rescued_total", Type::counter, "Messages taken over because their lease had run out.",
         static_cast<double>(rescued_));
  single("byocd_notifications_total", Type::counter, "Times that the database woke this process.",
         static_cast<double>(notifications_));
  single("byocd_draining", Type::gauge, "1 while the process is ending.", gauges.draining ? 1 : 0);
}

void Instruments::write_calls(Exposition& exposition, const Gauges& gauges) const {
  exposition.metric("byocd_call_outcomes_total", Type::counter,
                    "Attempts to make a call (a calendar event, a webhook) by what became of them.");
  for (const auto& [provider, calls] : provider_calls_)
    for (const auto& [kind, count] : calls.outcomes)
      exposition.sample(static_cast<double>(count), {{"provider", provider}, {"outcome", kind}});
  exposition.metric("byocd_call_duration_seconds", Type::histogram,
                    "From when a call was claimed until its last answer.");
  for (const auto& [provider, calls] : provider_calls_) exposition.samples(calls.durations, {{"provider", provider}});
  exposition.metric("byocd_calls_in_flight", Type::gauge, "Calls claimed and without an outcome.");
  exposition.sample(gauges.calls_in_flight);
}

void Instruments::write_database(Exposition& exposition) const {
  exposition.metric("byocd_database_connected", Type::gauge, "1 while the connection can be used.");
  for (const auto& [name, sessions] : connections_)
    exposition.sample(sessions.connected ? 1 : 0, {{"connection", name}});
  exposition.metric("byocd_database_reconnects_total", Type::counter, "Times that a lost connection was made anew.");
  for (const auto& [name, sessions] : connections_)
    exposition.sample(static_cast<double>(std::max<std::uint64_t>(sessions.begun, 1) - 1), {{"connection", name}});
  exposition.metric("byocd_database_call_duration_seconds", Type::histogram, "Calls to the database by function.");
  for (const auto& [name, call] : calls_) exposition.samples(call.durations, {{"call", name}});
  exposition.metric("byocd_database_call_errors_total", Type::counter, "Calls to the database that failed.");
  for (const auto& [name, call] : calls_) exposition.sample(static_cast<double>(call.failed), {{"call", name}});
}

void Instruments::write_http(Exposition& exposition) const {
  exposition.metric("byocd_http_requests_total", Type::counter,
                    "Requests to the HTTP server by their answer's status.");
  for (const auto& [name, route] : routes_)
    for (const auto& [status, count] : route.statuses)
      exposition.sample(static_cast<double>(count),
                        {{"method", name.first}, {"route", name.second}, {"status", std::to_string(status)}});
  exposition.metric("byocd_http_request_duration_seconds", Type::histogram, "Time until a request was answered.");
  for (const auto& [name, route] : routes_)
    exposition.samples(route.durations, {{"method", name.first}, {"route", name.second}});
}

}  // namespace byocd
