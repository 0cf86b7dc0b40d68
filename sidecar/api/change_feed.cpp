#include "change_feed.h"

#include <utility>

namespace byocd {

std::vector<Sight> ChangeFeed::changes(std::vector<Sight> look) {
  std::map<std::string, std::string> versions;
  std::vector<Sight> changed;
  for (auto& sight : look) {
    versions.emplace(sight.id, sight.version);
    const auto known = versions_.find(sight.id);
    if (begun_ && (known == versions_.end() || known->second != sight.version)) changed.push_back(std::move(sight));
  }
  versions_ = std::move(versions);
  begun_ = true;
  return changed;
}

std::string server_sent_event(const std::string& kind, const std::string& data) {
  return "event: " + kind + "\ndata: " + data + "\n\n";
}

}  // namespace byocd
