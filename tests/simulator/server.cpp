#include "server.h"

#include <arpa/inet.h>
#include <event2/http_struct.h>
#include <event2/keyvalq_struct.h>
#include <event2/listener.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <random>
#include <stdexcept>

#include "dates.h"

namespace simulator {
namespace {

constexpr int backlog = 1024;
constexpr int idle_timeout_seconds = 3600;  // longer than any test: `timeout` faults must outlast the client's patience
constexpr ev_ssize_t largest_body = 64 << 20;  // bytes; accounts are loaded by the thousand in benchmarks
constexpr std::uint16_t first_free_port = 20000;
constexpr std::uint16_t last_free_port = 32767;
constexpr int dribbles = 16;  // pieces of a slow body

std::string_view method_name(evhttp_cmd_type command) {
  switch (command) {
    case EVHTTP_REQ_GET:
      return "GET";
    case EVHTTP_REQ_POST:
      return "POST";
    case EVHTTP_REQ_PUT:
      return "PUT";
    case EVHTTP_REQ_DELETE:
      return "DELETE";
    case EVHTTP_REQ_PATCH:
      return "PATCH";
    default:
      return "";
  }
}

std::string_view header(evhttp_request* req, const char* name) {
  const char* value = evhttp_find_header(evhttp_request_get_input_headers(req), name);
  return value == nullptr ? std::string_view() : std::string_view(value);
}

/// Nullptr unless the socket could be bound and listens.
evconnlistener* listen_on(event_base* base, sockaddr_in address, std::uint16_t port) {
  address.sin_port = htons(port);
  return evconnlistener_new_bind(base, nullptr, nullptr,
                                 LEV_OPT_REUSEABLE | LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, backlog,
                                 reinterpret_cast<sockaddr*>(&address), sizeof address);
}

timeval to_timeval(std::chrono::microseconds span) {
  return {static_cast<time_t>(span.count() / 1'000'000), static_cast<suseconds_t>(span.count() % 1'000'000)};
}

/// Made once a second; evhttp would make it for each answer.
const char* date_header() {
  static std::chrono::sys_seconds second{};
  static std::string text;
  const auto when = now();
  if (const auto current = std::chrono::floor<std::chrono::seconds>(when); text.empty() || current != second) {
    second = current;
    text = http_date(when);
  }
  return text.c_str();
}

void add_headers(evhttp_request* req, const answer& result) {
  auto* headers = evhttp_request_get_output_headers(req);
  evhttp_add_header(headers, "Date", date_header());
  evhttp_add_header(headers, "Content-Type", result.content_type);
  evhttp_add_header(headers, "Content-Length", fmt::format_int(result.body.size()).c_str());
  if (result.retry_after) evhttp_add_header(headers, "Retry-After", fmt::format_int(*result.retry_after).c_str());
  if (!result.location.empty()) evhttp_add_header(headers, "Location", result.location.c_str());
  if (result.challenge) evhttp_add_header(headers, "WWW-Authenticate", "Basic realm=\"Twilio API\"");
}

}  // namespace

/// A request that is answered later, in pieces, or never. It ends with `forget`, or when its connection does.
struct server::exchange {
  server* owner;
  evhttp_request* req;
  answer result;
  event_handle timer;
  std::size_t sent = 0;  // bytes of the body
  bool started = false;

  evhttp_connection* connection() const { return evhttp_request_get_connection(req); }

  void after(std::chrono::microseconds delay) {
    const auto wait = to_timeval(delay);
    evtimer_add(timer.get(), &wait);
  }

  static void on_timer(evutil_socket_t, short, void* context) {
    auto& held = *static_cast<exchange*>(context);
    held.owner->carry_out(held);
  }

  /// The client went away while its answer was held back.
  static void on_bufferevent(bufferevent*, short what, void* context) {
    auto& held = *static_cast<exchange*>(context);
    if ((what & (BEV_EVENT_EOF | BEV_EVENT_ERROR)) != 0) held.owner->close_connection(held);
  }

  /// libevent closes the connection. A request that it took off the connection first is ours to free.
  static void on_close(evhttp_connection*, void* context) {
    auto& held = *static_cast<exchange*>(context);
    if (held.connection() == nullptr) evhttp_request_free(held.req);
    held.owner->forget(held);
  }
};

server::server(event_base* base, statistics& stats, handler handle)
    : base_(base), stats_(stats), handle_(std::move(handle)), http_(evhttp_new(base)) {
  evhttp_set_allowed_methods(http_.get(),
                             EVHTTP_REQ_GET | EVHTTP_REQ_POST | EVHTTP_REQ_PUT | EVHTTP_REQ_DELETE | EVHTTP_REQ_PATCH);
  evhttp_set_max_body_size(http_.get(), largest_body);
  evhttp_set_timeout(http_.get(), idle_timeout_seconds);
  evhttp_set_gencb(
      http_.get(), [](evhttp_request* req, void* self) { static_cast<server*>(self)->on_request(req); }, this);
  // Called once for each connection that is accepted; nullptr lets evhttp make its own bufferevent.
  evhttp_set_bevcb(
      http_.get(),
      [](event_base*, void* self) -> bufferevent* {
        ++static_cast<server*>(self)->stats_.connections;
        return nullptr;
      },
      this);
}

server::~server() = default;

std::uint16_t server::listen(const std::string& host, std::uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  if (inet_pton(AF_INET, host.c_str(), &address.sin_addr) != 1)
    throw std::runtime_error(fmt::format("{} is not an IPv4 address", host));
  evconnlistener* listener = nullptr;
  if (port != 0) {
    listener = listen_on(base_, address, port);
  } else {
    std::random_device device;
    std::uniform_int_distribution<std::uint16_t> pick(first_free_port, last_free_port);
    for (int attempt = 0; attempt < 1000 && listener == nullptr; ++attempt)
      listener = listen_on(base_, address, port = pick(device));
  }
  if (listener == nullptr)
    throw std::runtime_error(fmt::format("cannot listen on {}:{}: {}", host, port, std::strerror(errno)));
  // Accepted sockets inherit it. Without it the pieces of a slow body would be merged.
  const int on = 1;
  setsockopt(evconnlistener_get_fd(listener), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  if (evhttp_bind_listener(http_.get(), listener) == nullptr) {
    evconnlistener_free(listener);
    throw std::runtime_error("out of memory");
  }
  return port;
}

void server::release_held() {
  for (auto& [held, owned] : held_) {
    if (held->result.how != manner::held) continue;
    held->result.how = manner::whole;
    held->after(std::chrono::microseconds(0));
  }
}

void server::on_request(evhttp_request* req) {
  const std::string_view uri = evhttp_request_get_uri(req);
  const auto question = uri.find('?');
  auto* input = evhttp_request_get_input_buffer(req);
  const auto length = evbuffer_get_length(input);
  request asked;
  asked.method = method_name(evhttp_request_get_command(req));
  asked.path = uri.substr(0, question);
  if (question != std::string_view::npos) asked.query = uri.substr(question + 1);
  asked.authorization = header(req, "Authorization");
  asked.content_type = header(req, "Content-Type");
  if (length > 0) asked.body = {reinterpret_cast<const char*>(evbuffer_pullup(input, -1)), length};
  auto result = handle_(asked);
  if (!result.is_control) stats_.max_in_flight = std::max(stats_.max_in_flight, ++stats_.in_flight);
  if (result.how == manner::whole && result.delay.count() == 0) {
    answer_now(req, result);
    if (!result.is_control) --stats_.in_flight;
  } else {
    hold(req, std::move(result));
  }
}

void server::answer_now(evhttp_request* req, const answer& result) {
  add_headers(req, result);
  evbuffer_add(evhttp_request_get_output_buffer(req), result.body.data(), result.body.size());
  evhttp_send_reply(req, result.status, nullptr, nullptr);
}

void server::hold(evhttp_request* req, answer result) {
  auto owned = std::make_unique<exchange>();
  auto& held = *owned;
  held.owner = this;
  held.req = req;
  held.result = std::move(result);
  held.timer.reset(evtimer_new(base_, exchange::on_timer, &held));
  held_.emplace(&held, std::move(owned));
  // evhttp stops reading while a request is open and would not notice that the client gave up. It installs its own
  // callbacks again as soon as an answer is sent.
  evhttp_connection_set_closecb(held.connection(), exchange::on_close, &held);
  auto* bev = evhttp_connection_get_bufferevent(held.connection());
  bufferevent_setcb(bev, nullptr, nullptr, exchange::on_bufferevent, &held);
  bufferevent_enable(bev, EV_READ);
  // Even without delay the rest runs from the loop: a connection must not be freed under the callback that evhttp is
  // in.
  held.after(held.result.delay);
}

void server::carry_out(exchange& held) {
  switch (held.result.how) {
    case manner::never:
    case manner::held:
      return;
    case manner::whole: {
      auto* req = held.req;
      const auto result = std::move(held.result);
      evhttp_connection_set_closecb(held.connection(), nullptr, nullptr);
      forget(held);
      answer_now(req, result);
      return;
    }
    case manner::reset: {
      // Disconnecting an established TCP socket sends RST at once (connect(2), AF_UNSPEC); SO_LINGER would not do,
      // because evhttp shuts the socket down, with a FIN, before it closes it.
      sockaddr nowhere{};
      nowhere.sa_family = AF_UNSPEC;
      ::connect(bufferevent_getfd(evhttp_connection_get_bufferevent(held.connection())), &nowhere, sizeof nowhere);
      close_connection(held);
      return;
    }
    case manner::dribbled:
    case manner::cut:
      dribble(held);
      return;
  }
}

void server::dribble(exchange& held) {
  if (!held.started) {
    held.started = true;
    add_headers(held.req, held.result);
    evhttp_send_reply_start(held.req, held.result.status, nullptr);
  }
  const auto& body = held.result.body;
  const bool is_cut = held.result.how == manner::cut;
  if (is_cut && held.sent > 0) {
    close_connection(held);
    return;
  }
  const auto piece =
      is_cut ? body.size() / 2 : std::min(body.size() - held.sent, std::max<std::size_t>(1, body.size() / dribbles));
  const evbuffer_handle part(evbuffer_new());
  evbuffer_add(part.get(), body.data() + held.sent, piece);
  held.sent += piece;
  if (is_cut) {
    // The timer then closes the connection, once the half is written.
    evhttp_send_reply_chunk_with_cb(
        held.req, part.get(),
        [](evhttp_connection*, void* context) { static_cast<exchange*>(context)->after(std::chrono::microseconds(0)); },
        &held);
    return;
  }
  evhttp_send_reply_chunk(held.req, part.get());
  if (held.sent < body.size()) {
    held.after(std::chrono::duration_cast<std::chrono::microseconds>(held.result.spread) / dribbles);
    return;
  }
  auto* req = held.req;
  evhttp_connection_set_closecb(held.connection(), nullptr, nullptr);
  forget(held);
  evhttp_send_reply_end(req);
}

void server::close_connection(exchange& held) {
  auto* connection = held.connection();
  evhttp_connection_set_closecb(connection, nullptr, nullptr);
  forget(held);
  evhttp_connection_free(connection);  // frees the request with it
}

void server::forget(exchange& held) {
  if (!held.result.is_control) --stats_.in_flight;
  held_.erase(&held);
}

}  // namespace simulator
