#include "transfer.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <strings.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <stdexcept>

#include "../extension/crypto/base64.h"
#include "../log.h"

namespace byocd {

namespace {

// Twilio's answers are a few kilobytes; a page of 200 long messages stays below this.
constexpr std::size_t longest_body = 4 << 20;
constexpr std::size_t longest_untrusted_body = 64 << 10;
// libcurl takes memory for it anew for each request: so little comes from where it was given back a moment ago.
constexpr long read_at_once = 1'024;
// A server may drop idle connections without a word; older ones are not used again.
constexpr long longest_idle_s = 30;
// Of what a server may say; who reads it can reckon with that. Newer libcurl knows none that is longer.
constexpr curl_off_t longest_retry_after_s = 6 * 60 * 60;
// Less than the time after which a message that the provider does not list counts as not sent.
constexpr std::chrono::milliseconds longest_unacknowledged{10'000};

template <class Value>
void set(CURL* easy, CURLoption option, Value value) {
  if (curl_easy_setopt(easy, option, value) != CURLE_OK) throw std::runtime_error("libcurl lacks an option");
}

// The header of Basic authentication (RFC 7617). libcurl would make it too, out of copies that it does not wipe.
SecretString authorization(const std::string& user, const SecretString& password) {
  std::string pair = user + ':' + password.reveal();
  std::string header = "Authorization: Basic ";
  const std::size_t begin = header.size();
  header.resize(begin + byoc::base64_length(pair.size()) + 1);
  byoc::base64_encode(reinterpret_cast<const std::uint8_t*>(pair.data()), pair.size(), &header[begin]);
  header.pop_back();  // the terminating zero
  SecretString secret(header);
  OPENSSL_cleanse(pair.data(), pair.size());
  OPENSSL_cleanse(header.data(), header.size());
  return secret;
}

HttpFailure::Reason reason_of(CURLcode code) {
  using Reason = HttpFailure::Reason;
  switch (code) {
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
      return Reason::name_not_found;
    case CURLE_COULDNT_CONNECT:
      return Reason::refused;
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CIPHER:
    case CURLE_SSL_ISSUER_ERROR:
      return Reason::tls;
    case CURLE_OPERATION_TIMEDOUT:
      return Reason::timeout;
    default:
      return Reason::other;
  }
}

}  // namespace

Transfer::Transfer(const Options& options)
    : options_(options), user_agent_("User-Agent: " + options.user_agent), easy_(curl_easy_init()) {
  if (!easy_) throw std::runtime_error("no memory for a libcurl handle");
  CURL* easy = easy_.get();
  set(easy, CURLOPT_NOSIGNAL, 1L);
  set(easy, CURLOPT_PROTOCOLS_STR, "http,https");
  // Debian 12's libcurl 7.88.1 has HTTP/2 stall bugs.
  set(easy, CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_1_1));
  set(easy, CURLOPT_FOLLOWLOCATION, 0L);
  // Ours are for the provider, never for a proxy.
  set(easy, CURLOPT_HEADEROPT, static_cast<long>(CURLHEADER_SEPARATE));
  set(easy, CURLOPT_TCP_KEEPALIVE, 1L);
  set(easy, CURLOPT_OPENSOCKETDATA, this);
  set(easy, CURLOPT_OPENSOCKETFUNCTION, &Transfer::on_open);
  set(easy, CURLOPT_SOCKOPTDATA, this);
  set(easy, CURLOPT_SOCKOPTFUNCTION, &Transfer::on_socket_made);
  set(easy, CURLOPT_MAXAGE_CONN, longest_idle_s);
  set(easy, CURLOPT_BUFFERSIZE, read_at_once);
#if LIBCURL_VERSION_NUM >= 0x075700
  // libcurl resolves in a thread. One that still waits for a tenant's name server when the request is over ends by
  // itself: the loop does not wait for it.
  set(easy, CURLOPT_QUICK_EXIT, 1L);
#endif
  set(easy, CURLOPT_TIMEOUT_MS, static_cast<long>(options.request_timeout.count()));
  if (options.no_proxy) set(easy, CURLOPT_NOPROXY, options.no_proxy->c_str());
  set(easy, CURLOPT_ERRORBUFFER, error_.data());
  set(easy, CURLOPT_PRIVATE, this);
  set(easy, CURLOPT_WRITEDATA, this);
  set(easy, CURLOPT_WRITEFUNCTION, &Transfer::on_body);
  set(easy, CURLOPT_PREREQDATA, this);
  set(easy, CURLOPT_PREREQFUNCTION, &Transfer::on_before_request);
}

void Transfer::start(HttpRequest request, ParsedUrls::Url url, HttpCallback callback) {
  request_ = std::move(request);
  url_ = std::move(url);
  callback_ = std::move(callback);
  response_ = {};
  requests_begun_ = 0;
  too_late_ = false;
  objection_ = nullptr;
  permitted_ = false;
  error_[0] = '\0';

  CURL* easy = easy_.get();
  // In this order: newer versions of libcurl forget the URL when a parsed one is set, be it none.
  set(easy, CURLOPT_CURLU, url_.get());
  set(easy, CURLOPT_URL, request_.url.c_str());
  set_headers();
  set_method();
  set_guard();
}

void Transfer::set_headers() {
  headers_.clear();
  // libcurl reads the list where it is and never writes to it.
  const auto add = [this](const std::string& line) { headers_.push_back({const_cast<char*>(line.c_str()), nullptr}); };
  add(user_agent_);  // by CURLOPT_USERAGENT libcurl would write it twice
  if (!request_.user.empty()) {
    authorization_ = authorization(request_.user, request_.password);
    add(authorization_.reveal());
  }
  for (const auto& line : request_.headers) add(line.reveal());
  for (std::size_t i = 1; i < headers_.size(); ++i) headers_[i - 1].next = &headers_[i];
  set(easy_.get(), CURLOPT_HTTPHEADER, headers_.data());
}

void Transfer::set_method() {
  using Method = HttpRequest::Method;
  CURL* easy = easy_.get();
  const auto method = request_.method;
  if (method == Method::get || method == Method::del) {
    set(easy, CURLOPT_HTTPGET, 1L);
  } else {
    set(easy, CURLOPT_POST, 1L);
    set(easy, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(request_.body.size()));
    set(easy, CURLOPT_POSTFIELDS, request_.body.c_str());
  }
  const char* other_name = method == Method::put     ? "PUT"
                           : method == Method::patch ? "PATCH"
                           : method == Method::del   ? "DELETE"
                                                     : nullptr;
  set(easy, CURLOPT_CUSTOMREQUEST, other_name);
}

void Transfer::set_guard() {
  CURL* easy = easy_.get();
  const long alone = request_.untrusted_url ? 1 : 0;
  // A kept connection was permitted for another request, if it was looked at at all.
  set(easy, CURLOPT_FRESH_CONNECT, alone);
  set(easy, CURLOPT_FORBID_REUSE, alone);
  // A proxy would connect to what it finds itself behind the name. Empty: none, whatever the environment says.
  set(easy, CURLOPT_PROXY, request_.untrusted_url || !options_.no_proxy ? "" : nullptr);
}

HttpResult Transfer::finish(CURLcode code, bool cancelled) {
  const bool written = possibly_written();
  // All that libcurl copied is what it wrote to the connection.
  curl_easy_setopt(easy_.get(), CURLOPT_HTTPHEADER, nullptr);
  curl_easy_setopt(easy_.get(), CURLOPT_POSTFIELDS, nullptr);
  headers_.clear();
  authorization_ = {};
  OPENSSL_cleanse(request_.body.data(), request_.body.size());
  request_ = {};
  curl_easy_setopt(easy_.get(), CURLOPT_CURLU, nullptr);
  url_ = nullptr;

  const std::string message = error_[0] != '\0' ? error_.data() : curl_easy_strerror(code);
  if (cancelled) return fail(HttpFailure{HttpFailure::Kind::cancelled, written, "broken off"});
  // A body that is too long is cut off by us; the status came before it.
  if (code == CURLE_OK || (code == CURLE_WRITE_ERROR && response_.truncated)) {
    long status = 0;
    curl_easy_getinfo(easy_.get(), CURLINFO_RESPONSE_CODE, &status);
    response_.status = static_cast<int>(status);
    curl_off_t retry_after = 0;
    curl_easy_getinfo(easy_.get(), CURLINFO_RETRY_AFTER, &retry_after);
    if (retry_after > 0) response_.retry_after = std::chrono::seconds(std::min(retry_after, longest_retry_after_s));
    return std::exchange(response_, {});
  }
  if (too_late_)
    return fail(HttpFailure{HttpFailure::Kind::too_late, false, "its time was over before it was written"});
  if (objection_)
    return fail(HttpFailure{HttpFailure::Kind::connect_failed, false, objection_, HttpFailure::Reason::not_permitted});
  if (!written) return fail(HttpFailure{HttpFailure::Kind::connect_failed, false, message, reason_of(code)});
  const auto kind = code == CURLE_OPERATION_TIMEDOUT ? HttpFailure::Kind::timeout : HttpFailure::Kind::connection_lost;
  return fail(HttpFailure{kind, true, message, reason_of(code)});
}

bool Transfer::possibly_written() const {
  long bytes = 0;
  curl_easy_getinfo(easy_.get(), CURLINFO_REQUEST_SIZE, &bytes);
  // Before the handle's own request begins, these are the bytes of the one before.
  return requests_begun_ > 1 || (requests_begun_ == 1 && bytes > 0);
}

std::size_t Transfer::on_body(char* data, std::size_t size, std::size_t count, void* self) {
  auto& transfer = *static_cast<Transfer*>(self);
  HttpResponse& response = transfer.response_;
  const std::size_t bytes = size * count;
  const std::size_t longest = transfer.request_.untrusted_url ? longest_untrusted_body : longest_body;
  const std::size_t room = longest - response.body.size();
  response.body.append(data, std::min(bytes, room));
  response.truncated = bytes > room;
  return response.truncated ? 0 : bytes;
}

curl_socket_t Transfer::on_open(void* self, curlsocktype, curl_sockaddr* address) {
  return static_cast<Transfer*>(self)->open(*address);
}

// The address is the one that libcurl connects to next, so what a name meant a moment ago does not matter.
curl_socket_t Transfer::open(const curl_sockaddr& address) {
  if (request_.untrusted_url) {
    const bool encrypted = strncasecmp(request_.url.c_str(), "https:", 6) == 0;
    if (const char* objection = options_.rules.objection(address.addr, encrypted)) {
      log::warn("a tenant's URL is not followed to {}: {}", to_text(address.addr), objection);
      if (!permitted_) objection_ = objection;
      return CURL_SOCKET_BAD;
    }
    permitted_ = true;
    objection_ = nullptr;
  }
  return options_.open_socket(address);
}

int Transfer::on_socket_made(void* self, curl_socket_t socket, curlsocktype) {
  // What was written while the network was cut must not arrive after we gave up waiting: not even when this process is
  // dead, and the kernel alone goes on retransmitting.
  const auto limit = static_cast<unsigned>(
      std::min(static_cast<Transfer*>(self)->options_.request_timeout, longest_unacknowledged).count());
  (void)::setsockopt(socket, IPPROTO_TCP, TCP_USER_TIMEOUT, &limit, sizeof limit);
  return CURL_SOCKOPT_OK;
}

int Transfer::on_before_request(void* self, char*, char*, int, int) {
  // libcurl sends a request again by itself when a kept connection breaks before any answer, a POST too
  // (Curl_retry_request). The first copy may have been acted upon, so a second is refused; unless not a byte of the
  // first was written.
  auto& transfer = *static_cast<Transfer*>(self);
  long bytes = 0;
  curl_easy_getinfo(transfer.easy(), CURLINFO_REQUEST_SIZE, &bytes);
  if (bytes > 0) return CURL_PREREQFUNC_ABORT;
  if (transfer.leave_ended_connection()) return CURL_PREREQFUNC_OK;
  transfer.too_late_ = transfer.request_.not_after && Clock::now() > *transfer.request_.not_after;
  if (transfer.too_late_) return CURL_PREREQFUNC_ABORT;
  ++transfer.requests_begun_;
  return CURL_PREREQFUNC_OK;
}

bool Transfer::leave_ended_connection() {
  // Before 8.22 it looks each time, and names the connection of the request before here.
  static const bool libcurl_looks = curl_version_info(CURLVERSION_NOW)->version_num < 0x081600;
  if (libcurl_looks) return false;
  CURL* easy = easy_.get();
  long new_connections = 0;
  curl_easy_getinfo(easy, CURLINFO_NUM_CONNECTS, &new_connections);
  curl_socket_t kept = CURL_SOCKET_BAD;
  curl_easy_getinfo(easy, CURLINFO_ACTIVESOCKET, &kept);
  if (new_connections > 0 || kept == CURL_SOCKET_BAD) return false;
  // What can be read now is its end, or what nobody asked for.
  char byte = 0;
  if (::recv(kept, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && errno == EAGAIN) return false;
  (void)::shutdown(kept, SHUT_RDWR);
  curl_easy_setopt(easy, CURLOPT_FRESH_CONNECT, 1L);  // the next one may have ended as well
  return true;
}

}  // namespace byocd
