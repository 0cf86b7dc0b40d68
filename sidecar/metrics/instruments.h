// What this process counts and measures.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <utility>

#include "../db/call.h"
#include "../db/connection_observer.h"
#include "../db/job.h"
#include "exposition.h"

namespace byocd {

/// What is so now.
struct Gauges {
  int jobs_in_flight = 0;
  int requests_in_flight = 0;
  int most_requests_in_flight = 0;
  std::size_t unrecorded_outcomes = 0;
  int calls_in_flight = 0;
  bool draining = false;
};

/// Counters and histograms since the start of the process.
class Instruments final : public ConnectionObserver {
 public:
  Instruments();

  void claimed(std::size_t jobs) { claimed_ += jobs; }
  void rescued(int jobs) { rescued_ += static_cast<std::uint64_t>(jobs); }
  void notified() { ++notifications_; }
  /// An attempt came to its end.
  void ended(const JobOutcome& outcome);
  /// Calls of this provider may come: shows them as 0.
  void expect_calls(std::string_view provider);
  /// A call came to its end, with all its requests.
  void called(const std::string& provider, CallOutcome::Kind kind, std::chrono::duration<double> duration);
  /// A request to our HTTP server was answered. `route`: the pattern that it matched, never the path itself.
  void answered(const std::string& method, const std::string& route, int status,
                std::chrono::duration<double> duration);

  void on_connected(const std::string& connection) override;
  void on_lost(const std::string& connection) override;
  void on_call(const char* statement, std::chrono::duration<double> duration, bool ok) override;

  void write(Exposition& exposition, const Gauges& gauges) const;

 private:
  struct Sessions {
    bool connected = false;
    std::uint64_t begun = 0;
  };
  struct Call {
    Histogram durations;
    std::uint64_t failed = 0;
  };
  struct ProviderCalls {
    std::map<std::string, std::uint64_t> outcomes;
    Histogram durations;
  };
  struct Route {
    std::map<int, std::uint64_t> statuses;
    Histogram durations;
  };

  void write_jobs(Exposition& exposition, const Gauges& gauges) const;
  void write_calls(Exposition& exposition, const Gauges& gauges) const;
  void write_database(Exposition& exposition) const;
  void write_http(Exposition& exposition) const;

  std::uint64_t claimed_ = 0;
  std::uint64_t rescued_ = 0;
  std::uint64_t notifications_ = 0;
  std::map<std::string, std::uint64_t> outcomes_;
  Histogram requests_;
  std::map<std::string, ProviderCalls, std::less<>> provider_calls_;
  std::map<std::string, Sessions> connections_;
  std::map<std::string, Call> calls_;
  std::map<std::pair<std::string, std::string>, Route> routes_;
};

}  // namespace byocd
