#include "server.h"

#include <arpa/inet.h>
#include <event2/buffer.h>
#include <event2/http.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <stdexcept>

namespace byocd {

namespace {

constexpr ev_ssize_t longest_headers = 16 * 1024;
constexpr ev_ssize_t longest_body = 64 * 1024;
constexpr int idle_timeout_s = 30;

int port_of(evutil_socket_t fd) {
  sockaddr_storage address{};
  socklen_t length = sizeof address;
  if (getsockname(fd, reinterpret_cast<sockaddr*>(&address), &length) != 0) return 0;
  if (address.ss_family == AF_INET6) return ntohs(reinterpret_cast<sockaddr_in6*>(&address)->sin6_port);
  return ntohs(reinterpret_cast<sockaddr_in*>(&address)->sin_port);
}

const char* reason_of(int status) {
  switch (status) {
    case 200:
      return "OK";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 503:
      return "Service Unavailable";
    default:
      return "Error";
  }
}

}  // namespace

Server::Server(Loop& loop, const std::string& host, int port) : http_(evhttp_new(loop.base())) {
  if (!http_) throw std::runtime_error("no memory for the HTTP server");
  evhttp_set_max_headers_size(http_.get(), longest_headers);
  evhttp_set_max_body_size(http_.get(), longest_body);
  evhttp_set_timeout(http_.get(), idle_timeout_s);
  // All methods reach the handler, so that their refusal is a problem document too.
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

ApiAnswer Server::answer(evhttp_request* request) const {
  const evhttp_uri* uri = evhttp_request_get_evhttp_uri(request);
  const char* path = uri != nullptr ? evhttp_uri_get_path(uri) : nullptr;
  const auto found = handlers_.find(path != nullptr ? path : "");
  if (found == handlers_.end()) return problem_answer(404, "Not Found", "There is nothing at this address.");
  const auto method = evhttp_request_get_command(request);
  if (method != EVHTTP_REQ_GET && method != EVHTTP_REQ_HEAD)
    return problem_answer(405, "Method Not Allowed", "This address answers GET and HEAD.");
  return found->second();
}

void Server::on_request(evhttp_request* request, void* self) {
  const ApiAnswer answer = static_cast<const Server*>(self)->answer(request);
  auto* headers = evhttp_request_get_output_headers(request);
  evhttp_add_header(headers, "Content-Type", answer.content_type.c_str());
  evhttp_add_header(headers, "Cache-Control", "no-store");
  if (answer.status == 405) evhttp_add_header(headers, "Allow", "GET, HEAD");
  auto* body = evhttp_request_get_output_buffer(request);
  evbuffer_add(body, answer.body.data(), answer.body.size());
  evhttp_send_reply(request, answer.status, reason_of(answer.status), nullptr);
}

}  // namespace byocd
