// One request on its way: a libcurl easy handle and what belongs to it.
#pragma once

#include <curl/curl.h>

#include <array>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "address_rules.h"
#include "parsed_urls.h"
#include "request.h"

namespace byocd {

struct EasyFree {
  void operator()(CURL* easy) const { curl_easy_cleanup(easy); }
};

/// Reusable: start() and finish() any number of times. Keeps its address while a request is on its way.
class Transfer {
 public:
  struct Options {
    std::chrono::milliseconds request_timeout;
    std::string user_agent;
    /// Hosts that no proxy is used for, in libcurl's syntax; nothing: there is no proxy.
    std::optional<std::string> no_proxy;
    /// Where URLs of tenants may lead.
    AddressRules rules;
    /// Makes a socket for an address.
    std::function<curl_socket_t(const curl_sockaddr&)> open_socket;
  };

  /// `options` must outlive it. Throws std::runtime_error when libcurl has no handle to give.
  explicit Transfer(const Options& options);
  Transfer(const Transfer&) = delete;
  Transfer& operator=(const Transfer&) = delete;

  CURL* easy() { return easy_.get(); }

  /// Takes the request over; the handle is then ready to be added to a multi handle. `url`: its URL parsed, or nothing.
  void start(HttpRequest request, ParsedUrls::Url url, HttpCallback callback);

  /// The result by libcurl's code, with the request's secrets wiped and the transfer free for the next one.
  /// `cancelled` says that we broke it off ourselves.
  HttpResult finish(CURLcode code, bool cancelled);

  HttpCallback take_callback() { return std::move(callback_); }

 private:
  static std::size_t on_body(char* data, std::size_t size, std::size_t count, void* self);
  static curl_socket_t on_open(void* self, curlsocktype purpose, curl_sockaddr* address);
  static int on_socket_made(void* self, curl_socket_t socket, curlsocktype purpose);
  static int on_before_request(void* self, char*, char*, int, int);
  void set_method();
  void set_headers();
  void set_guard();
  curl_socket_t open(const curl_sockaddr& address);
  bool possibly_written() const;
  // libcurl takes a kept connection for alive for a second after it last looked (since 8.22). One that has ended is
  // shut down: nothing can be written to it, and libcurl tries again by a new one.
  bool leave_ended_connection();

  const Options& options_;
  const std::string user_agent_;  // a header line
  std::unique_ptr<CURL, EasyFree> easy_;
  HttpRequest request_;
  ParsedUrls::Url url_;
  SecretString authorization_;
  std::vector<curl_slist> headers_;
  HttpCallback callback_;
  HttpResponse response_;
  int requests_begun_ = 0;
  bool too_late_ = false;
  // Why the URL was not followed, unless one of its addresses was permitted.
  const char* objection_ = nullptr;
  bool permitted_ = false;
  std::array<char, CURL_ERROR_SIZE> error_{};
};

}  // namespace byocd
