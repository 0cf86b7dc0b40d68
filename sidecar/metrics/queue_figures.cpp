#include "queue_figures.h"

namespace byocd {

namespace {

using Type = Exposition::Type;

struct Sample {
  const char* label;
  const char* column;
};

struct Metric {
  const char* name;
  const char* help;
  const char* label;  // empty: one sample without labels
  std::vector<Sample> samples;
};

const std::vector<Metric> metrics{
    {"byoc_queue_messages",
     "Messages that are not finished: waiting (can be sent now), scheduled (for later, or for another try), due (their "
     "time has just come), sending, reconciling (perhaps sent, looked for at the provider), unknown (a person "
     "decides).",
     "state",
     {{"waiting", "waiting"},
      {"scheduled", "scheduled"},
      {"due", "due"},
      {"sending", "sending"},
      {"reconciling", "reconciling"},
      {"unknown", "unknown"}}},
    {"byoc_queue_oldest_seconds",
     "How long the oldest message that could be sent now has been waiting, those of paused lanes aside; 0: none waits.",
     "",
     {{"", "oldest_waiting_seconds"}}},
    {"byoc_lanes",
     "Lanes (organization and credential) that cannot send freely: breaker_open (the provider failed too often in a "
     "row), breaker_half_open (one message at a time tries again), limited (by the sender's rate or the provider's "
     "wish), paused (the credential is not verified).",
     "state",
     {{"breaker_open", "breakers_open"},
      {"breaker_half_open", "breakers_half_open"},
      {"limited", "lanes_limited"},
      {"paused", "lanes_paused"}}},
    {"byoc_dispatchers",
     "byocd processes that hold messages (sending) and that wait for some (sleeping); none in either: nothing is sent.",
     "state",
     {{"sending", "dispatchers_sending"}, {"sleeping", "dispatchers_sleeping"}}},
    {"byoc_credentials",
     "Active credentials by what their last check with the provider said.",
     "status",
     {{"pending", "credentials_pending"}, {"verified", "credentials_verified"}, {"failed", "credentials_failed"}}},
    {"byoc_fallback_senders",
     "Accounts in the environments of byocds that send for organizations without a credential.",
     "",
     {{"", "fallback_senders"}}},
    {"byoc_master_keys",
     "Master keys: active, retired, or missing from the key ring though a data key needs it.",
     "state",
     {{"active", "master_keys_active"}, {"retired", "master_keys_retired"}, {"missing", "master_keys_missing"}}},
    {"byoc_data_keys",
     "Data keys of organizations, and the installation's own.",
     "state",
     {{"active", "data_keys_active"}, {"retired", "data_keys_retired"}, {"destroyed", "data_keys_destroyed"}}},
    {"byoc_data_keys_to_rewrap",
     "Data keys that the active master key does not wrap: byocd keyring rewrap.",
     "",
     {{"", "data_keys_to_rewrap"}}},
};

const std::vector<Metric> call_metrics{
    {"byoc_calls",
     "Calls (calendar events, webhooks) that are not finished: waiting (can be made now), scheduled (for later, or for "
     "another try), running.",
     "state",
     {{"waiting", "waiting"}, {"scheduled", "scheduled"}, {"running", "running"}}},
    {"byoc_calls_oldest_seconds",
     "How long the first of the calls that could be made now has been due, those of paused credentials aside; 0: none "
     "is.",
     "",
     {{"", "oldest_waiting_seconds"}}},
    {"byoc_call_credentials",
     "Credentials with calls that cannot be made freely: breaker_open (the provider failed too often in a row), "
     "breaker_half_open (one call at a time tries again), paused (it is not verified, or not there).",
     "state",
     {{"breaker_open", "breakers_open"}, {"breaker_half_open", "breakers_half_open"}, {"paused", "paused"}}},
};

void write_gauges(Exposition& exposition, const std::vector<Metric>& metrics_to_write, const Figures* figures) {
  for (const auto& metric : metrics_to_write) {
    exposition.metric(metric.name, Type::gauge, metric.help);
    if (figures == nullptr) continue;
    for (const auto& sample : metric.samples) {
      const double value = figure(*figures, sample.column);
      if (*metric.label == '\0')
        exposition.sample(value);
      else
        exposition.sample(value, {{metric.label, sample.label}});
    }
  }
}

void write_acceptance(Exposition& exposition, const std::vector<AcceptanceBucket>& buckets) {
  std::vector<Exposition::Bucket> counts;
  double seconds = 0;
  for (const auto& bucket : buckets) {
    counts.push_back({bucket.up_to, bucket.messages});
    seconds += bucket.seconds;
  }
  exposition.samples(counts, seconds);
}

}  // namespace

void write_queue_figures(Exposition& exposition, const std::optional<DatabaseFigures>& figures) {
  exposition.metric("byoc_up", Type::gauge,
                    "1 when the database answered for this scrape: else what begins with byoc_ is missing.");
  exposition.sample(figures ? 1 : 0);
  write_gauges(exposition, metrics, figures ? &figures->totals : nullptr);
  write_gauges(exposition, call_metrics, figures && figures->calls ? &*figures->calls : nullptr);
  exposition.metric("byoc_acceptance_seconds", Type::histogram,
                    "From when a message could be sent until its acceptance by the provider was recorded.");
  // None: the server does not keep count of this database.
  if (figures && figures->acceptance && !figures->acceptance->empty())
    write_acceptance(exposition, *figures->acceptance);
}

void write_lane_figures(Exposition& exposition, const std::optional<DatabaseFigures>& figures) {
  const auto each = [&](const char* name, const char* help, auto write) {
    exposition.metric(name, Type::gauge, help);
    if (!figures) return;
    for (const auto& lane : figures->lanes)
      write(lane, Exposition::Labels{{"org_id", lane.org_id}, {"credential_id", lane.credential_id}});
  };
  each("byoc_lane_messages", "Messages of a lane that are not finished, by state; waiting ends at 10,000.",
       [&](const LaneFigures& lane, Exposition::Labels labels) {
         labels.emplace_back("state", "");
         for (const char* state : {"waiting", "scheduled", "sending", "reconciling", "unknown"}) {
           labels.back().second = state;
           exposition.sample(figure(lane.figures, state), labels);
         }
       });
  each("byoc_lane_oldest_seconds", "How long the first of a lane's messages has been waiting.",
       [&](const LaneFigures& lane, const Exposition::Labels& labels) {
         exposition.sample(figure(lane.figures, "oldest_waiting_seconds"), labels);
       });
  each("byoc_lane_breaker_open", "1 while a lane's breaker is open, 0.5 while it is half open.",
       [&](const LaneFigures& lane, const Exposition::Labels& labels) {
         exposition.sample(lane.breaker == "open" ? 1 : lane.breaker == "half_open" ? 0.5 : 0, labels);
       });
}

}  // namespace byocd
