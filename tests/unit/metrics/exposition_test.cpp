#include "metrics/exposition.h"

#include <gtest/gtest.h>

#include <cmath>

#include "metrics/instruments.h"
#include "metrics/queue_figures.h"

namespace byocd {
namespace {

using namespace std::chrono_literals;

TEST(Exposition, WritesNameHelpTypeAndSamples) {
  Exposition exposition;
  exposition.metric("byoc_queue_messages", Exposition::Type::gauge, "Messages.");
  exposition.sample(3, {{"state", "waiting"}});
  exposition.sample(0.5);
  EXPECT_EQ(exposition.text(),
            "# HELP byoc_queue_messages Messages.\n# TYPE byoc_queue_messages gauge\n"
            "byoc_queue_messages{state=\"waiting\"} 3\nbyoc_queue_messages 0.5\n");
}

TEST(Exposition, EscapesLabelValues) {
  Exposition exposition;
  exposition.metric("m", Exposition::Type::counter, "h");
  exposition.sample(1, {{"a", "x\"y"}, {"b", "back\\slash\nnew"}});
  EXPECT_NE(exposition.text().find("m{a=\"x\\\"y\",b=\"back\\\\slash\\nnew\"} 1\n"), std::string::npos);
}

TEST(Exposition, WritesLargeNumbersInFull) {
  Exposition exposition;
  exposition.metric("m", Exposition::Type::counter, "h");
  exposition.sample(1234567890123);
  EXPECT_NE(exposition.text().find("m 1234567890123"), std::string::npos);
}

TEST(Exposition, BucketsOfAHistogramAddUp) {
  Histogram histogram;
  histogram.observe(500us);
  histogram.observe(1ms);  // a bound belongs to its bucket
  histogram.observe(40ms);
  histogram.observe(60s);
  Exposition exposition;
  exposition.metric("d", Exposition::Type::histogram, "h");
  exposition.samples(histogram, {{"call", "c"}});
  const std::string& text = exposition.text();
  EXPECT_NE(text.find("d_bucket{call=\"c\",le=\"0.001\"} 2\n"), std::string::npos) << text;
  EXPECT_NE(text.find("d_bucket{call=\"c\",le=\"0.025\"} 2\n"), std::string::npos) << text;
  EXPECT_NE(text.find("d_bucket{call=\"c\",le=\"0.05\"} 3\n"), std::string::npos) << text;
  EXPECT_NE(text.find("d_bucket{call=\"c\",le=\"30\"} 3\n"), std::string::npos) << text;
  EXPECT_NE(text.find("d_bucket{call=\"c\",le=\"+Inf\"} 4\n"), std::string::npos) << text;
  EXPECT_NE(text.find("d_count{call=\"c\"} 4\n"), std::string::npos) << text;
  EXPECT_NE(text.find("d_sum{call=\"c\"} 60.04"), std::string::npos) << text;
}

TEST(Instruments, CountAttemptsAndTimeThoseThatWereSent) {
  Instruments instruments;
  JobOutcome outcome;
  outcome.outcome.kind = OutcomeKind::accepted;
  outcome.outcome.http_status = 201;
  instruments.ended(outcome);
  outcome.outcome = {};  // returned: never sent
  instruments.ended(outcome);
  Exposition exposition;
  instruments.write(exposition, {.jobs_in_flight = 7});
  const std::string& text = exposition.text();
  EXPECT_NE(text.find("byocd_outcomes_total{outcome=\"accepted\"} 1\n"), std::string::npos);
  EXPECT_NE(text.find("byocd_outcomes_total{outcome=\"returned\"} 1\n"), std::string::npos);
  EXPECT_NE(text.find("byocd_outcomes_total{outcome=\"unknown\"} 0\n"), std::string::npos);
  EXPECT_NE(text.find("byocd_request_duration_seconds_count 1\n"), std::string::npos);
  EXPECT_NE(text.find("byocd_jobs_in_flight 7\n"), std::string::npos);
}

TEST(Instruments, CountCallsByProviderAndOutcome) {
  Instruments instruments;
  instruments.expect_calls("webhook");
  instruments.called("webhook", CallOutcome::Kind::throttled, 20ms);
  instruments.called("of a newer database", CallOutcome::Kind::accepted, 20ms);
  Exposition exposition;
  instruments.write(exposition, {.calls_in_flight = 3});
  const std::string& text = exposition.text();
  EXPECT_NE(text.find("byocd_call_outcomes_total{provider=\"webhook\",outcome=\"throttled\"} 1\n"), std::string::npos);
  EXPECT_NE(text.find("byocd_call_outcomes_total{provider=\"webhook\",outcome=\"accepted\"} 0\n"), std::string::npos);
  EXPECT_NE(text.find("byocd_call_duration_seconds_bucket{provider=\"webhook\",le=\"0.025\"} 1\n"), std::string::npos);
  EXPECT_EQ(text.find("newer"), std::string::npos);
  EXPECT_NE(text.find("byocd_calls_in_flight 3\n"), std::string::npos);
}

TEST(QueueFigures, ShowAcceptanceAsAHistogram) {
  DatabaseFigures figures;
  figures.acceptance = {{0.5, 2, 0.25}, {1, 3, 2.5}, {INFINITY, 1, 70}};
  Exposition exposition;
  write_queue_figures(exposition, figures);
  EXPECT_NE(exposition.text().find("byoc_acceptance_seconds_bucket{le=\"0.5\"} 2\n"
                                   "byoc_acceptance_seconds_bucket{le=\"1\"} 5\n"
                                   "byoc_acceptance_seconds_bucket{le=\"+Inf\"} 6\n"
                                   "byoc_acceptance_seconds_sum 72.75\nbyoc_acceptance_seconds_count 6\n"),
            std::string::npos)
      << exposition.text();
}

TEST(QueueFigures, LeaveOutWhatAnEarlierDatabaseDoesNotTell) {
  Exposition exposition;
  write_queue_figures(exposition, DatabaseFigures{});
  const std::string& text = exposition.text();
  EXPECT_NE(text.find("byoc_up 1\n"), std::string::npos);
  EXPECT_NE(text.find("# TYPE byoc_acceptance_seconds histogram\n"), std::string::npos);
  EXPECT_EQ(text.find("\nbyoc_acceptance_seconds"), std::string::npos);
  EXPECT_EQ(text.find("\nbyoc_calls{"), std::string::npos);
}

TEST(Instruments, TheFirstConnectionIsNoReconnect) {
  Instruments instruments;
  const auto text = [&] {
    Exposition exposition;
    instruments.write(exposition, {});
    return exposition.text();
  };
  instruments.on_connected("record");
  EXPECT_NE(text().find("byocd_database_reconnects_total{connection=\"record\"} 0\n"), std::string::npos);
  instruments.on_lost("record");
  EXPECT_NE(text().find("byocd_database_connected{connection=\"record\"} 0\n"), std::string::npos);
  instruments.on_connected("record");
  EXPECT_NE(text().find("byocd_database_reconnects_total{connection=\"record\"} 1\n"), std::string::npos);
}

}  // namespace
}  // namespace byocd
