#include "event_streams.h"

#include <algorithm>
#include <utility>

#include "refusal.h"

namespace byocd {

namespace {

using namespace std::chrono_literals;

constexpr std::size_t most_streams = 256;
constexpr std::size_t most_of_an_organization = 32;
constexpr auto look_interval = 1s;
// How late what happened may be committed and still be seen.
constexpr auto overlap = 5s;
// As many changes as byoc.rest_changes() tells; more have to be loaded.
constexpr std::ptrdiff_t most_messages = 500;
// Comments that keep proxies from ending a quiet stream: every so many looks.
constexpr unsigned heartbeat_ticks = 15;

constexpr Statement whose{"rest_session_org", "SELECT byoc.rest_session() #>> '{organization,id}'"};
constexpr Statement changes_statement{
    "rest_changes", "SELECT kind, id, version, data::text FROM byoc.rest_changes($1::int * interval '1 millisecond')"};

std::vector<Sight> read_look(const Rows& rows) {
  std::vector<Sight> look;
  look.reserve(static_cast<std::size_t>(rows.count()));
  for (int row = 0; row < rows.count(); ++row)
    look.push_back({std::string(rows.text(row, 0)), std::string(rows.text(row, 1)), std::string(rows.text(row, 2)),
                    std::string(rows.text(row, 3))});
  return look;
}

}  // namespace

EventStreams::EventStreams(TenantDatabase& database, Timers& timers)
    : database_(database), timers_(timers), timer_(timers.make_timer([this] { tick(); })) {}

EventStreams::~EventStreams() = default;

void EventStreams::open(const SecretString& token, Reply reply) {
  if (stopped_ || count_ >= most_streams) return reply(not_now_problem("There are too many event streams. Try again."));
  auto stream = std::make_shared<Stream>();
  stream->token = token.copy();
  database_.run(token, whose, {}, [this, stream, reply = std::move(reply)](const QueryResult& result) {
    if (!result) return reply(refusal_problem(result.error()));
    if (stopped_) return reply(not_now_problem("The server is stopping. Try again."));
    if (result->is_null(0, 0))
      return reply(problem_answer(403, "Forbidden", "The token's organization does not exist here."));
    add(std::string(result->text(0, 0)), stream, reply);
  });
}

void EventStreams::add(const std::string& org_id, StreamPtr stream, const Reply& reply) {
  Feed& feed = feeds_[org_id];
  if (feed.streams.size() >= most_of_an_organization) {
    ApiAnswer answer =
        problem_answer(429, "Too Many Requests", "The organization has as many event streams as it may have.");
    answer.headers.emplace_back("Retry-After", "10");
    return reply(answer);
  }
  stream->answer = std::make_shared<AnswerStream>();
  stream->answer->on_gone = [this, org_id, weak = std::weak_ptr<Stream>(stream)] {
    if (const auto gone = weak.lock()) remove(org_id, gone);
  };
  feed.streams.push_back(stream);
  ++count_;
  ApiAnswer answer{200, "text/event-stream", ": changes of the organization\n\n", {}, stream->answer};
  answer.headers.emplace_back("X-Accel-Buffering", "no");  // nginx would wait for more
  reply(answer);
  look(org_id);
  if (!timer_->pending()) timer_->start(look_interval);
}

void EventStreams::remove(const std::string& org_id, const StreamPtr& stream) {
  const auto found = feeds_.find(org_id);
  if (found == feeds_.end()) return;
  count_ -= std::erase(found->second.streams, stream);
  if (found->second.streams.empty()) feeds_.erase(found);
}

void EventStreams::tick() {
  const bool heartbeat = ++ticks_ % heartbeat_ticks == 0;
  std::vector<std::string> watched;
  std::vector<StreamPtr> quiet;
  for (const auto& [org_id, feed] : feeds_) {
    watched.push_back(org_id);
    if (heartbeat) quiet.insert(quiet.end(), feed.streams.begin(), feed.streams.end());
  }
  // Writing may find that the client is gone, and change what is watched.
  for (const auto& stream : quiet) stream->answer->write(":\n\n");
  for (const auto& org_id : watched) look(org_id);
  if (!feeds_.empty()) timer_->start(look_interval);
}

void EventStreams::look(const std::string& org_id) {
  const auto found = feeds_.find(org_id);
  if (found == feeds_.end() || found->second.looking) return;
  Feed& feed = found->second;
  feed.looking = true;
  const auto now = timers_.now();
  const auto since = feed.changes.begun() ? now - feed.looked_at : Clock::duration(0);
  const auto within = std::chrono::duration_cast<std::chrono::milliseconds>(since + overlap);
  const StreamPtr asker = feed.streams[feed.turn++ % feed.streams.size()];
  database_.run(asker->token, changes_statement, {std::to_string(within.count())},
                [this, org_id, asker, now](const QueryResult& result) { on_look(org_id, asker, now, result); });
}

void EventStreams::on_look(const std::string& org_id, const StreamPtr& asker, Clock::time_point at,
                           const QueryResult& result) {
  const auto found = feeds_.find(org_id);
  if (found == feeds_.end()) return;
  Feed& feed = found->second;
  feed.looking = false;
  if (result) {
    feed.looked_at = at;
    return tell(feed, read_look(*result));
  }
  // Anything but trouble that passes is about the token: it has expired, its key is gone, or it may not see this.
  if (result.error().transient()) return;
  if (std::erase(feed.streams, asker) == 1) {
    --count_;
    asker->answer->end();
  }
  if (feed.streams.empty()) {
    feeds_.erase(found);
  } else {
    look(org_id);
  }
}

void EventStreams::tell(Feed& feed, std::vector<Sight> look) {
  const auto messages =
      std::count_if(look.begin(), look.end(), [](const Sight& sight) { return sight.kind == "message"; });
  std::string news;
  for (const auto& change : feed.changes.changes(std::move(look))) {
    // What is beyond the limit is not known; the page has to load.
    if (messages <= most_messages || change.kind != "message") news += server_sent_event(change.kind, change.data);
  }
  if (messages > most_messages) news += server_sent_event("reload", "{}");
  // Writing may find that the client is gone.
  for (const auto& stream : std::vector<StreamPtr>(feed.streams)) {
    if (!stream->ready)
      stream->answer->write(server_sent_event("ready", "{}"));
    else if (!news.empty())
      stream->answer->write(news);
    stream->ready = true;
  }
}

void EventStreams::stop() {
  stopped_ = true;
  timer_->stop();
  count_ = 0;
  for (auto& [org_id, feed] : std::exchange(feeds_, {}))
    for (const auto& stream : feed.streams) stream->answer->end();
}

}  // namespace byocd
