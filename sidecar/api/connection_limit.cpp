#include "connection_limit.h"

#include <event2/bufferevent.h>
#include <sys/socket.h>

#include <algorithm>

namespace byocd {

namespace {

// bufferevent_free() takes the callbacks away at once; memory stays until our reference goes.
bool is_freed(bufferevent* each) {
  bufferevent_event_cb on_event = nullptr;
  bufferevent_getcb(each, nullptr, nullptr, &on_event, nullptr);
  return on_event == nullptr;
}

}  // namespace

ConnectionLimit::~ConnectionLimit() {
  for (bufferevent* each : open_) bufferevent_decref(each);
}

void ConnectionLimit::forget_closed() {
  std::erase_if(open_, [](bufferevent* each) {
    if (!is_freed(each)) return false;
    bufferevent_decref(each);
    return true;
  });
}

bufferevent* ConnectionLimit::make(event_base* base, const std::set<const bufferevent*>& serving) {
  forget_closed();
  if (open_.size() >= most_) {
    const auto oldest =
        std::find_if(open_.begin(), open_.end(), [&](const bufferevent* each) { return serving.count(each) == 0; });
    // evhttp sees the end of the connection in the loop's next turn, and lets go of it.
    if (oldest != open_.end()) {
      shutdown(bufferevent_getfd(*oldest), SHUT_RDWR);
      std::rotate(oldest, oldest + 1, open_.end());
    }
  }
  // Without BEV_OPT_CLOSE_ON_FREE evhttp closes the socket itself, whoever still holds a reference.
  bufferevent* made = bufferevent_socket_new(base, -1, 0);
  if (made == nullptr) return nullptr;
  bufferevent_incref(made);
  open_.push_back(made);
  return made;
}

}  // namespace byocd
