#include "server.h"

#include <arpa/inet.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/http.h>
#include <event2/keyvalq_struct.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <set>
#include <stdexcept>
#include <utility>

#include "../uuid.h"
#include "default_headers.h"
#include "error_pages.h"

namespace byocd {

namespace {

constexpr ev_ssize_t longest_headers = 24 * 1024;  // a token may have 16 KiB
constexpr std::size_t longest_body = 64 * 1024;
// What evhttp still reads, so that who sends a body that is not much too long can read its refusal. Every
// connection may hold as much.
constexpr ev_ssize_t longest_read_body = 128 * 1024;
constexpr int idle_timeout_s = 30;
// A stream is written to by itself; only a client that is gone without a word is found out by it.
constexpr int stream_timeout_s = 24 * 3600;
// What a client of a stream may leave unread.
constexpr std::size_t longest_backlog = 256 * 1024;
constexpr std::size_t most_connections = 512;

int port_of(evutil_socket_t fd) {
  sockaddr_storage address{};
  socklen_t length = sizeof address;
  if (getsockname(fd, reinterpret_cast<sockaddr*>(&address), &length) != 0) return 0;
  if (address.ss_family == AF_INET6) return ntohs(reinterpret_cast<sockaddr_in6*>(&address)->sin6_port);
  return ntohs(reinterpret_cast<sockaddr_in*>(&address)->sin_port);
}

const char* name_of(evhttp_cmd_type method) {
  switch (method) {
    case EVHTTP_REQ_GET:
    case EVHTTP_REQ_HEAD:
      return "GET";
    case EVHTTP_REQ_POST:
      return "POST";
    case EVHTTP_REQ_PUT:
      return "PUT";
    case EVHTTP_REQ_PATCH:
      return "PATCH";
    case EVHTTP_REQ_DELETE:
      return "DELETE";
    default:
      return "OPTIONS";
  }
}

// Whether another server, a proxy in front of us, could see the request end elsewhere than evhttp does, and what
// follows be taken for somebody else's request (RFC 9112, section 11.2). evhttp reads no body with these methods.
bool ends_ambiguously(evhttp_request* raw) {
  int lengths = 0;
  int encodings = 0;
  bool empty = true;
  const evkeyvalq* headers = evhttp_request_get_input_headers(raw);
  for (const evkeyval* header = headers->tqh_first; header != nullptr; header = header->next.tqe_next) {
    if (evutil_ascii_strcasecmp(header->key, "Transfer-Encoding") == 0) ++encodings;
    if (evutil_ascii_strcasecmp(header->key, "Content-Length") != 0) continue;
    ++lengths;
    empty = std::strcmp(header->value, "0") == 0;
  }
  const auto method = evhttp_request_get_command(raw);
  const bool takes_body = method == EVHTTP_REQ_POST || method == EVHTTP_REQ_PUT || method == EVHTTP_REQ_PATCH;
  return lengths + encodings > 1 || (!takes_body && (encodings > 0 || !empty));
}

std::string text_or_empty(const char* text) {
  return text != nullptr ? text : "";
}

// What may be repeated in a log line.
bool is_fit_for_an_id(std::string_view text) {
  return !text.empty() && text.size() <= 64 && std::all_of(text.begin(), text.end(), [](unsigned char c) {
    return std::isalnum(c) || c == '-' || c == '_' || c == '.';
  });
}

ApiRequest read(evhttp_request* raw) {
  ApiRequest request;
  request.since = Clock::now();
  request.method = name_of(evhttp_request_get_command(raw));
  if (const evhttp_uri* uri = evhttp_request_get_evhttp_uri(raw)) {
    request.path = text_or_empty(evhttp_uri_get_path(uri));
    request.query = text_or_empty(evhttp_uri_get_query(uri));
  }
  const evkeyvalq* headers = evhttp_request_get_input_headers(raw);
  for (const evkeyval* header = headers->tqh_first; header != nullptr; header = header->next.tqe_next) {
    std::string name = header->key;
    std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) { return std::tolower(c); });
    request.headers.emplace(std::move(name), header->value);
  }
  const std::string& id = request.header("x-request-id");
  request.id = is_fit_for_an_id(id) ? id : random_uuid();
  evbuffer* body = evhttp_request_get_input_buffer(raw);
  request.body.resize(evbuffer_get_length(body));
  evbuffer_copyout(body, request.body.data(), request.body.size());
  return request;
}

}  // namespace

Server::Server(Loop& loop, const std::string& host, int port, std::vector<std::string> allowed_origins)
    : cors_(std::move(allowed_origins)), connections_(most_connections), http_(evhttp_new(loop.base())) {
  if (!http_) throw std::runtime_error("no memory for the HTTP server");
  evhttp_set_max_headers_size(http_.get(), longest_headers);
  evhttp_set_max_body_size(http_.get(), longest_read_body);
  evhttp_set_timeout(http_.get(), idle_timeout_s);
  // All methods reach the router, so that their refusal is a problem document too.
  evhttp_set_allowed_methods(http_.get(), EVHTTP_REQ_GET | EVHTTP_REQ_HEAD | EVHTTP_REQ_POST | EVHTTP_REQ_PUT |
                                              EVHTTP_REQ_DELETE | EVHTTP_REQ_PATCH | EVHTTP_REQ_OPTIONS);
  evhttp_set_default_content_type(http_.get(), nullptr);
  evhttp_set_gencb(http_.get(), &Server::on_request, this);
  evhttp_set_bevcb(http_.get(), &Server::on_accept, this);
  auto* socket = evhttp_bind_socket_with_handle(http_.get(), host.c_str(), static_cast<ev_uint16_t>(port));
  if (socket == nullptr)
    throw std::runtime_error("cannot listen on " + host + ":" + std::to_string(port) + ": " + std::strerror(errno));
  port_ = port_of(evhttp_bound_socket_get_fd(socket));
}

void Server::Free::operator()(evhttp* http) const {
  evhttp_free(http);
}

void Server::get(std::string path, std::function<ApiAnswer()> handler) {
  route("GET", std::move(path),
        [handler = std::move(handler)](const ApiRequest&, const Reply& reply) { reply(handler()); });
}

void Server::on_request(evhttp_request* request, void* self) {
  static_cast<Server*>(self)->serve(request);
}

bufferevent* Server::on_accept(event_base* base, void* context) {
  auto* self = static_cast<Server*>(context);
  std::set<const bufferevent*> serving;
  for (const auto& [raw, pending] : self->pending_)
    if (evhttp_connection* connection = evhttp_request_get_connection(pending->request))
      serving.insert(evhttp_connection_get_bufferevent(connection));
  bufferevent* connection = self->connections_.make(base, serving);
  if (connection != nullptr) replace_error_pages(connection);
  return connection;
}

void Server::serve(evhttp_request* request) {
  const auto pending = std::make_shared<Pending>(Pending{this, request, read(request), nullptr});
  if (ends_ambiguously(request)) {
    ApiAnswer answer = problem_answer(400, "Bad Request", "The request must have one length, and this method no body.");
    answer.headers.emplace_back("Connection", "close");
    return send(request, pending->read, std::move(answer));
  }
  if (pending->read.body.size() > longest_body)
    return send(request, pending->read, problem_answer(413, "Content Too Large", "The body is longer than 64 KiB."));
  pending_.emplace(pending.get(), pending);
  evhttp_connection_set_closecb(evhttp_request_get_connection(request), &Server::on_close, pending.get());
  const Reply reply = [this, weak = std::weak_ptr<Pending>(pending)](ApiAnswer answer) {
    this->answer(weak, std::move(answer));
  };
  const std::string methods = router_.allowed(pending->read.path);
  if (!methods.empty() && cors_.is_preflight(pending->read)) return reply(cors_.preflight_answer(methods));
  router_.serve(pending->read, reply);
}

// The client is gone, or the server is being destroyed: whatever the handler answers is dropped.
void Server::on_close(evhttp_connection*, void* context) {
  auto* pending = static_cast<Pending*>(context);
  // A request that libevent took off its connection before closing it is ours to free.
  if (evhttp_request_get_connection(pending->request) == nullptr) evhttp_request_free(pending->request);
  const auto stream = pending->stream;
  pending->server->pending_.erase(pending);
  if (stream && stream->on_gone) stream->on_gone();
}

void Server::answer(const std::weak_ptr<Pending>& weak, ApiAnswer answer) {
  const PendingPtr pending = weak.lock();
  if (!pending) {
    if (answer.stream && answer.stream->on_gone) answer.stream->on_gone();
    return;
  }
  if (answer.stream && evhttp_request_get_command(pending->request) != EVHTTP_REQ_HEAD) {
    pending->stream = answer.stream;
  } else {
    if (answer.stream && answer.stream->on_gone) answer.stream->on_gone();
    pending_.erase(pending.get());
    evhttp_connection_set_closecb(evhttp_request_get_connection(pending->request), nullptr, nullptr);
  }
  send(pending->request, pending->read, answer);
  if (pending->stream) start_stream(pending, answer);
}

void Server::send(evhttp_request* request, const ApiRequest& read, ApiAnswer answer) {
  cors_.allow(read, answer);
  if (observer_) observer_(read, router_.pattern(read.method, read.path), answer.status);
  auto* headers = evhttp_request_get_output_headers(request);
  if (!answer.content_type.empty()) evhttp_add_header(headers, "Content-Type", answer.content_type.c_str());
  for (const auto& [name, value] : default_headers) evhttp_add_header(headers, name, value);
  evhttp_add_header(headers, "X-Request-Id", read.id.c_str());
  if (answer.status == 405) evhttp_add_header(headers, "Allow", router_.allowed(read.path).c_str());
  for (const auto& [name, value] : answer.headers) {
    evhttp_remove_header(headers, name.c_str());  // an answer's own goes before the default
    evhttp_add_header(headers, name.c_str(), value.c_str());
  }
  if (evhttp_request_get_command(request) == EVHTTP_REQ_HEAD) {
    // evhttp would send a body here too.
    if (answer.status != 204 && !answer.stream)
      evhttp_add_header(headers, "Content-Length", std::to_string(answer.body.size()).c_str());
  } else if (answer.stream) {
    return;
  } else {
    evbuffer_add(evhttp_request_get_output_buffer(request), answer.body.data(), answer.body.size());
  }
  evhttp_send_reply(request, answer.status, nullptr, nullptr);  // evhttp knows the reason phrases
}

void Server::start_stream(const PendingPtr& pending, const ApiAnswer& answer) {
  const std::weak_ptr<Pending> weak = pending;
  answer.stream->write = [weak](std::string_view text) { write(weak, text); };
  answer.stream->end = [this, weak] { end_stream(weak); };
  evhttp_connection_set_timeout(evhttp_request_get_connection(pending->request), stream_timeout_s);
  evhttp_send_reply_start(pending->request, answer.status, nullptr);
  write(weak, answer.body);
}

void Server::write(const std::weak_ptr<Pending>& weak, std::string_view text) {
  const PendingPtr pending = weak.lock();
  if (!pending) return;
  evhttp_connection* connection = evhttp_request_get_connection(pending->request);
  if (connection == nullptr) return;
  bufferevent* io = evhttp_connection_get_bufferevent(connection);
  // evhttp sees the end of the connection in the loop's next turn; on_close tells the stream.
  if (evbuffer_get_length(bufferevent_get_output(io)) > longest_backlog) {
    shutdown(bufferevent_getfd(io), SHUT_RDWR);
    return;
  }
  const std::unique_ptr<evbuffer, decltype(&evbuffer_free)> chunk(evbuffer_new(), &evbuffer_free);
  evbuffer_add(chunk.get(), text.data(), text.size());
  evhttp_send_reply_chunk(pending->request, chunk.get());
}

void Server::end_stream(const std::weak_ptr<Pending>& weak) {
  const PendingPtr pending = weak.lock();
  if (!pending) return;
  pending_.erase(pending.get());
  evhttp_connection_set_closecb(evhttp_request_get_connection(pending->request), nullptr, nullptr);
  evhttp_send_reply_end(pending->request);
}

}  // namespace byocd
