// What changed between two looks at the database.
#pragma once

#include <map>
#include <string>
#include <vector>

namespace byocd {

/// A credential or message as a look found it.
struct Sight {
  std::string kind;  // credential, message
  std::string id;
  /// Differs when `data` does.
  std::string version;
  /// JSON in one line.
  std::string data;
};

/// Compares looks that overlap in time, so that what was committed late is in one of them. The first look is only
/// remembered. Remembers no more than the last look held.
class ChangeFeed {
 public:
  /// Takes a look; answers what was not in the one before, or was different.
  std::vector<Sight> changes(std::vector<Sight> look);
  bool begun() const { return begun_; }

 private:
  std::map<std::string, std::string> versions_;  // by id
  bool begun_ = false;
};

/// `event: kind`, `data: data` and an empty line (https://html.spec.whatwg.org/multipage/server-sent-events.html).
std::string server_sent_event(const std::string& kind, const std::string& data);

}  // namespace byocd
