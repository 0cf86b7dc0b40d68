#include "lane_loads.h"

#include <algorithm>

namespace byocd {

namespace {

using namespace std::chrono_literals;

constexpr auto longest_silence = 1s;

}  // namespace

// What a lane takes of the slots.
int LaneLoads::taken_by(const Load& load) const {
  return load.silent ? load.requests : std::min(load.jobs, limit_);
}

int LaneLoads::room_of(const Load& load) const {
  return load.silent || load.holds > 0 ? 0 : std::max(0, limit_ - load.jobs);
}

void LaneLoads::forget_if_unused(Lane lane) {
  if (lane->second.jobs == 0 && lane->second.holds == 0) loads_.erase(lane->first);
}

template <class Change>
void LaneLoads::change(Load& load, Change change) {
  taken_ -= taken_by(load);
  change(load);
  taken_ += taken_by(load);
}

void LaneLoads::set_limits(int slots, int limit) {
  requests_ = slots;
  requests_limit_ = limit;
}

void LaneLoads::scale(double times) {
  const int limit = static_cast<int>(requests_limit_ * times);
  slots_ = static_cast<int>(requests_ * times);
  if (limit == limit_) return;
  limit_ = limit;
  taken_ = 0;
  for (const auto& [lane, load] : loads_) taken_ += taken_by(load);
}

LaneLoads::Lane LaneLoads::add(const std::string& lane) {
  auto& added = *loads_.try_emplace(lane).first;
  change(added.second, [](Load& load) { ++load.jobs; });
  return &added;
}

void LaneLoads::remove(Lane lane) {
  change(lane->second, [](Load& load) { --load.jobs; });
  forget_if_unused(lane);
}

std::shared_ptr<void> LaneLoads::hold(Lane lane) {
  ++lane->second.holds;
  return {lane, [this](Lane held) {
            --held->second.holds;
            forget_if_unused(held);
          }};
}

void LaneLoads::begin(Lane lane, Clock::time_point now) {
  ++sent_;
  change(lane->second, [now](Load& load) {
    if (++load.requests == 1) load.last_sign = now;
  });
}

void LaneLoads::end(Lane lane, bool answered, Clock::time_point now) {
  --sent_;
  change(lane->second, [&](Load& load) {
    --load.requests;
    if (answered) load.last_sign = now;
    if (answered || load.requests == 0) load.silent = false;
  });
}

bool LaneLoads::may_send(Lane lane) const {
  const int free = requests_ - sent_;
  const int requests = lane->second.requests;
  if (free <= 0 || requests == 0) return free > 0;
  return (requests + 1) * (requests_ - requests_limit_) <= (free - 1) * requests_limit_;
}

bool LaneLoads::find_silent(Clock::time_point now) {
  bool found = false;
  for (auto& [lane, load] : loads_) {
    if (load.silent || load.requests == 0 || now - load.last_sign < longest_silence) continue;
    change(load, [](Load& silent) { silent.silent = true; });
    found = true;
  }
  return found;
}

int LaneLoads::room(const std::string& lane) const {
  const auto found = loads_.find(lane);
  return found == loads_.end() ? limit_ : room_of(found->second);
}

std::vector<LaneRoom> LaneLoads::rooms() const {
  std::vector<LaneRoom> rooms;
  rooms.reserve(loads_.size());
  for (const auto& [lane, load] : loads_) rooms.push_back({lane, room_of(load)});
  return rooms;
}

std::vector<std::string> LaneLoads::full() const {
  std::vector<std::string> lanes;
  for (const auto& [lane, load] : loads_)
    if (room_of(load) == 0) lanes.push_back(lane);
  return lanes;
}

}  // namespace byocd
