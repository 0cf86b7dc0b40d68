// How many clients may be connected to the HTTP server.
#pragma once

#include <deque>
#include <set>

struct bufferevent;
struct event_base;

namespace byocd {

/// Makes the bufferevents of evhttp's connections, and closes the oldest that serves no request when there are too
/// many: idle clients must not use up the descriptors that sending needs. evhttp does not tell when it lets go of a
/// connection, so that is looked up when the next one comes.
class ConnectionLimit {
 public:
  explicit ConnectionLimit(std::size_t most) : most_(most) {}
  ~ConnectionLimit();
  ConnectionLimit(const ConnectionLimit&) = delete;
  ConnectionLimit& operator=(const ConnectionLimit&) = delete;

  /// A bufferevent for a connection that was just accepted. `serving`: those with a request that was not answered yet.
  bufferevent* make(event_base* base, const std::set<const bufferevent*>& serving);

 private:
  void forget_closed();

  std::size_t most_;
  std::deque<bufferevent*> open_;  // oldest first; we hold a reference of each
};

}  // namespace byocd
