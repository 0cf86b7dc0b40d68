#include "lane_loads.h"

#include <algorithm>

namespace byocd {

void LaneLoads::remove(const std::string& lane) {
  const auto found = loads_.find(lane);
  if (found != loads_.end() && --found->second <= 0) loads_.erase(found);
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
