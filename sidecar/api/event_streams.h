// `GET /api/organization/events`: tells pages what changes in their organization.
#pragma once

#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "../db/tenant_database.h"
#include "../timers.h"
#include "change_feed.h"
#include "exchange.h"

namespace byocd {

/// One look a second at each organization that is watched, with the token of one of its streams in turn: so the
/// database goes on deciding who may see it, and a stream ends soon after its token.
class EventStreams {
 public:
  EventStreams(TenantDatabase& database, Timers& timers);
  ~EventStreams();

  /// Answers with a stream, or with a problem: 401, 429 (too many for the organization), 503.
  void open(const SecretString& token, Reply reply);
  /// Ends all streams and answers no more.
  void stop();
  std::size_t count() const { return count_; }

 private:
  struct Stream {
    SecretString token;
    std::shared_ptr<AnswerStream> answer;
    bool ready = false;
  };
  using StreamPtr = std::shared_ptr<Stream>;
  struct Feed {
    std::vector<StreamPtr> streams;
    std::size_t turn = 0;
    ChangeFeed changes;
    Clock::time_point looked_at{};
    bool looking = false;
  };

  void add(const std::string& org_id, StreamPtr stream, const Reply& reply);
  void remove(const std::string& org_id, const StreamPtr& stream);
  void tick();
  void look(const std::string& org_id);
  void on_look(const std::string& org_id, const StreamPtr& asker, Clock::time_point at, const QueryResult& result);
  static void tell(Feed& feed, std::vector<Sight> look);

  TenantDatabase& database_;
  Timers& timers_;
  std::unique_ptr<Timer> timer_;
  std::unordered_map<std::string, Feed> feeds_;  // by organization
  std::size_t count_ = 0;
  unsigned ticks_ = 0;
  bool stopped_ = false;
};

}  // namespace byocd
