// Takes claimed jobs to their providers.
#pragma once

#include <chrono>
#include <deque>
#include <functional>
#include <list>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "../db/job.h"
#include "../http/request.h"
#include "../providers/message_provider.h"
#include "../providers/registry.h"
#include "../timers.h"
#include "credential_cache.h"
#include "identities.h"
#include "lane_loads.h"
#include "retry_policy.h"

namespace byocd {

/// A job occupies a slot from dispatch() until its outcome is handed over. Each job has exactly one outcome. There may
/// be more jobs than requests at a time: then they wait here, lanes take turns, and each lane's go in their order. What
/// waits of a lane whose requests fail one after the other is given back: it would fail as well. So is what waits, or
/// comes in, of a lane whose account was refused, until that is recorded.
class Dispatcher {
 public:
  struct Parts {
    const Registry& registry;
    HttpClient& http;
    CredentialCache& credentials;
    const Identities& identities;
    LaneLoads& lanes;
    const RetryPolicy& retry_policy;
    Timers& timers;
  };
  struct Hooks {
    std::function<void(JobOutcome)> on_outcome;
    /// Called after on_outcome, and when lanes fell silent.
    std::function<void()> on_slot_freed;
    /// Where the provider shall call back; `verifiable`: its signature could be checked with the job's credential.
    std::function<std::optional<std::string>(const ClaimedJob&, bool verifiable)> receipt_address = nullptr;
  };

  Dispatcher(Parts parts, Hooks hooks);

  void dispatch(std::vector<ClaimedJob> jobs);

  /// Jobs with a slot.
  int in_flight() const { return in_flight_; }
  /// A moving average over requests.
  std::chrono::microseconds typical_duration() const { return typical_duration_; }

  /// From now on nothing is sent: jobs that were not are given back.
  void drain();

 private:
  struct LaneJob : ClaimedJob {
    LaneJob(ClaimedJob claimed, LaneLoads::Lane its_lane) : ClaimedJob(std::move(claimed)), load(its_lane) {}
    LaneLoads::Lane load;
  };
  using Job = std::shared_ptr<LaneJob>;
  /// A job that can be sent.
  struct Ready {
    Job job;
    const MessageProvider* provider;
    CredentialCache::Credential credential;
  };
  struct WaitingLane {
    LaneLoads::Lane lane;
    std::deque<Ready> jobs;
    int failures = 0;  // requests in a row that the provider did not take
  };
  using WaitingLanes = std::list<WaitingLane>;

  void start(const Job& job);
  void on_credential(const Job& job, const CredentialCache::Answer& answer);
  void wait(const Ready& ready);
  void send(const Ready& ready);
  void send_waiting();
  void give_back_if_hopeless(LaneLoads::Lane lane, const Outcome& outcome);
  void give_back(const WaitingLanes& lanes);
  void look_for_silence();
  void finish(const Job& job, Outcome outcome, std::chrono::microseconds duration = {}, bool called_back = false);

  Parts parts_;
  Hooks hooks_;
  int in_flight_ = 0;
  WaitingLanes waiting_;  // whose turn is next comes first
  std::unordered_map<LaneLoads::Lane, WaitingLanes::iterator> waiting_by_lane_;
  std::unique_ptr<Timer> silence_timer_;
  bool draining_ = false;
  std::chrono::microseconds typical_duration_{0};
};

}  // namespace byocd
