/// Posts status callbacks to whoever asked for them.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "event_handles.h"
#include "statistics.h"

namespace simulator {

/// Keeps a few connections to every receiver. Callbacks of one `lane` reach it in the order they were posted.
/// A callback that meets a connection failure is posted once more, as Twilio's default retry does; an HTTP error is not
/// retried. Only `http` receivers: TLS would test OpenSSL, not the receiver.
class callback_client {
 public:
  callback_client(event_base* base, statistics& stats);
  ~callback_client();
  callback_client(const callback_client&) = delete;
  callback_client& operator=(const callback_client&) = delete;

  /// Posts the form `body` with `signature` to `url` (its fragment is dropped).
  void post(std::string_view url, std::string body, std::string signature, std::uint64_t lane);

 private:
  static constexpr std::size_t lanes = 8;
  struct delivery;
  using origin_connections = std::array<evhttp_connection_handle, lanes>;

  void send(std::unique_ptr<delivery> subject);
  evhttp_connection* connection_to(const std::string& host, std::uint16_t port, std::size_t lane);
  static void on_done(evhttp_request* req, void* context);

  event_base* base_;
  statistics& stats_;
  bool closing_ = false;
  std::map<std::uint64_t, std::unique_ptr<delivery>> under_way_;
  std::uint64_t next_id_ = 0;
  std::map<std::string, origin_connections> connections_;
};

}  // namespace simulator
