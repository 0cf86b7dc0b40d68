/// Owners for libevent's C handles.
#pragma once

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/http.h>

#include <memory>

namespace simulator {

template <auto Free>
struct handle_deleter {
  template <typename T>
  void operator()(T* handle) const {
    Free(handle);
  }
};

using event_base_handle = std::unique_ptr<event_base, handle_deleter<event_base_free>>;
using event_handle = std::unique_ptr<event, handle_deleter<event_free>>;
using evbuffer_handle = std::unique_ptr<evbuffer, handle_deleter<evbuffer_free>>;
using evhttp_handle = std::unique_ptr<evhttp, handle_deleter<evhttp_free>>;
using evhttp_connection_handle = std::unique_ptr<evhttp_connection, handle_deleter<evhttp_connection_free>>;
using evhttp_uri_handle = std::unique_ptr<evhttp_uri, handle_deleter<evhttp_uri_free>>;

}  // namespace simulator
