#include "callback_client.h"

#include <fmt/format.h>

#include "signature.h"

namespace simulator {

/// One callback between post and its outcome.
struct callback_client::delivery {
  callback_client* client;
  std::uint64_t id;
  std::string host;
  std::uint16_t port;
  std::string target;
  std::string body;
  std::string signature;
  std::size_t lane;
  bool is_retry = false;
};

namespace {
constexpr int answer_timeout_seconds = 15;  // https://www.twilio.com/docs/usage/webhooks/webhooks-connection-overrides
}

callback_client::callback_client(event_base* base, statistics& stats) : base_(base), stats_(stats) {}

callback_client::~callback_client() {
  // Closing a connection reports its requests as failed; by then nobody may retry them.
  closing_ = true;
  connections_.clear();
}

evhttp_connection* callback_client::connection_to(const std::string& host, std::uint16_t port, std::size_t lane) {
  auto& handle = connections_[fmt::format("{}:{}", host, port)][lane];
  if (!handle) {
    handle.reset(evhttp_connection_base_new(base_, nullptr, host.c_str(), port));
    if (handle) evhttp_connection_set_timeout(handle.get(), answer_timeout_seconds);
  }
  return handle.get();
}

void callback_client::post(std::string_view url, std::string body, std::string signature, std::uint64_t lane) {
  const std::string requested(without_fragment(url));
  const evhttp_uri_handle parsed(evhttp_uri_parse_with_flags(requested.c_str(), EVHTTP_URI_NONCONFORMANT));
  const char* host = parsed ? evhttp_uri_get_host(parsed.get()) : nullptr;
  if (host == nullptr || !url.starts_with("http://")) {
    ++stats_.callbacks.failed;
    return;
  }
  const int port = evhttp_uri_get_port(parsed.get());
  const char* path = evhttp_uri_get_path(parsed.get());
  const char* query = evhttp_uri_get_query(parsed.get());
  auto subject = std::make_unique<delivery>();
  subject->client = this;
  subject->host = host;
  subject->port = static_cast<std::uint16_t>(port > 0 ? port : 80);
  subject->target = path == nullptr || *path == '\0' ? "/" : path;
  if (query != nullptr) subject->target.append("?").append(query);
  subject->body = std::move(body);
  subject->signature = std::move(signature);
  subject->lane = lane % lanes;
  send(std::move(subject));
}

void callback_client::send(std::unique_ptr<delivery> subject) {
  auto* connection = connection_to(subject->host, subject->port, subject->lane);
  auto* req = connection == nullptr ? nullptr : evhttp_request_new(on_done, subject.get());
  if (req == nullptr) {
    ++stats_.callbacks.failed;
    return;
  }
  auto* headers = evhttp_request_get_output_headers(req);
  evhttp_add_header(headers, "Host", fmt::format("{}:{}", subject->host, subject->port).c_str());
  evhttp_add_header(headers, "Content-Type", "application/x-www-form-urlencoded; charset=utf-8");
  evhttp_add_header(headers, "User-Agent", "TwilioProxy/1.1");
  evhttp_add_header(headers, "Accept", "*/*");
  evhttp_add_header(headers, "X-Twilio-Signature", subject->signature.c_str());
  evbuffer_add(evhttp_request_get_output_buffer(req), subject->body.data(), subject->body.size());
  ++stats_.callbacks.posted;
  subject->id = next_id_++;
  const auto target = subject->target;
  const auto id = subject->id;
  under_way_.emplace(id, std::move(subject));
  // On failure libevent frees the request and may or may not have called on_done; the map knows.
  if (evhttp_make_request(connection, req, EVHTTP_REQ_POST, target.c_str()) != 0 && under_way_.erase(id) != 0)
    ++stats_.callbacks.failed;
}

void callback_client::on_done(evhttp_request* req, void* context) {
  auto& self = *static_cast<delivery*>(context)->client;
  auto node = self.under_way_.extract(static_cast<delivery*>(context)->id);
  if (self.closing_ || node.empty()) return;
  auto subject = std::move(node.mapped());
  const int status = req == nullptr ? 0 : evhttp_request_get_response_code(req);
  if (status >= 200 && status < 300) {
    ++self.stats_.callbacks.succeeded;
  } else if (status != 0 || subject->is_retry) {
    ++self.stats_.callbacks.failed;
  } else {
    subject->is_retry = true;
    self.send(std::move(subject));
  }
}

}  // namespace simulator
