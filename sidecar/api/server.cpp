#include "server.h"

#include <arpa/inet.h>
#include <event2/buffer.h>
#include <event2/http.h>
#include <event2/keyvalq_struct.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <stdexcept>

namespace byocd {

namespace {

constexpr ev_ssize_t longest_headers = 16 * 1024;
constexpr std::size_t longest_body = 64 * 1024;
// What evhttp still reads, so that the refusal of a body that is not much too long is a problem document too.
constexpr ev_ssize_t longest_read_body = 1024 * 1024;
constexpr int idle_timeout_s = 30;

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

std::string text_or_empty(const char* text) {
  return text != nullptr ? text : "";
}

ApiRequest read(evhttp_request* raw) {
  ApiRequest request;
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
  evbuffer* body = evhttp_request_get_input_buffer(raw);
  request.body.resize(evbuffer_get_length(body));
  evbuffer_copyout(body, request.body.data(), request.body.size());
  return request;
}

}  // namespace

Server::Server(Loop& loop, const std::string& host, int port) : http_(evhttp_new(loop.base())) {
  if (!http_) throw std::runtime_error("no memory for the HTTP server");
  evhttp_set_max_headers_size(http_.get(), longest_headers);
  evhttp_set_max_body_size(http_.get(), longest_read_body);
  evhttp_set_timeout(http_.get(), idle_timeout_s);
  // All methods reach the router, so that their refusal is a problem document too.
  evhttp_set_allowed_methods(http_.get(), EVHTTP_REQ_GET | EVHTTP_REQ_HEAD | EVHTTP_REQ_POST | EVHTTP_REQ_PUT |
                                              EVHTTP_REQ_DELETE | EVHTTP_REQ_PATCH | EVHTTP_REQ_OPTIONS);
  evhttp_set_gencb(http_.get(), &Server::on_request, this);
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

void Server::serve(evhttp_request* request) {
  ApiRequest read_request = read(request);
  if (read_request.body.size() > longest_body)
    return send(request, problem_answer(413, "Content Too Large", "The body is longer than 64 KiB."));
  const auto pending = std::make_shared<Pending>(Pending{this, request});
  pending_.emplace(pending.get(), pending);
  evhttp_connection_set_closecb(evhttp_request_get_connection(request), &Server::on_close, pending.get());
  router_.serve(std::move(read_request), [this, weak = std::weak_ptr<Pending>(pending)](const ApiAnswer& answer) {
    this->answer(weak, answer);
  });
}

// The client is gone, or the server is being destroyed: whatever the handler answers is dropped.
void Server::on_close(evhttp_connection*, void* context) {
  auto* pending = static_cast<Pending*>(context);
  // A request that libevent took off its connection before closing it is ours to free.
  if (evhttp_request_get_connection(pending->request) == nullptr) evhttp_request_free(pending->request);
  pending->server->pending_.erase(pending);
}

void Server::answer(const std::weak_ptr<Pending>& weak, const ApiAnswer& answer) {
  const PendingPtr pending = weak.lock();
  if (!pending) return;
  pending_.erase(pending.get());
  evhttp_connection_set_closecb(evhttp_request_get_connection(pending->request), nullptr, nullptr);
  send(pending->request, answer);
}

void Server::send(evhttp_request* request, const ApiAnswer& answer) {
  auto* headers = evhttp_request_get_output_headers(request);
  if (!answer.content_type.empty()) evhttp_add_header(headers, "Content-Type", answer.content_type.c_str());
  evhttp_add_header(headers, "Cache-Control", "no-store");
  if (answer.status == 405)
    evhttp_add_header(
        headers, "Allow",
        router_.allowed(text_or_empty(evhttp_uri_get_path(evhttp_request_get_evhttp_uri(request)))).c_str());
  auto* body = evhttp_request_get_output_buffer(request);
  evbuffer_add(body, answer.body.data(), answer.body.size());
  evhttp_send_reply(request, answer.status, nullptr, nullptr);  // evhttp knows the reason phrases
}

}  // namespace byocd
