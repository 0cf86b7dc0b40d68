#include "lane_loads.h"

#include <algorithm>

namespace byocd {

void LaneLoads::scale(double times) {
  const int limit = static_cast<int>(base_ * times);
  if (limit == limit_) return;
  limit_ = limit;
  within_limit_ = 0;
  for (const auto& [lane, load] : loads_) within_limit_ += std::min(load, limit_);
}

void LaneLoads::add(const std::string& lane) {
  if (++loads_[lane] <= limit_) ++within_limit_;
}

void LaneLoads::remove(const std::string& lane) {
  const auto found = loads_.find(lane);
  if (found == loads_.end()) return;
  if (found->second <= limit_) --within_limit_;
  if (--found->second <= 0) loads_.erase(found);
}

int LaneLoads::room(const std::string& lane) const {
  const auto found = loads_.find(lane);
  return found == loads_.end() ? limit_ : std::max(0, limit_ - found->second);
}

std::vector<LaneRoom> LaneLoads::rooms() const {
  std::vector<LaneRoom> rooms;
  rooms.reserve(loads_.size());
  for (const auto& [lane, load] : loads_) rooms.push_back({lane, std::max(0, limit_ - load)});
  return rooms;
}

std::vector<std::string> LaneLoads::full() const {
  std::vector<std::string> lanes;
  for (const auto& [lane, load] : loads_)
    if (load >= limit_) lanes.push_back(lane);
  return lanes;
}

}  // namespace byocd
