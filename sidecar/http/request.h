// Requests and answers as plain data: what providers make and read, and the client carries.
#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "../clock.h"
#include "../result.h"
#include "../secret.h"

namespace byocd {

/// One HTTP request.
struct HttpRequest {
  enum class Method { get, post, put, patch, del };
  Method method = Method::get;
  std::string url;
  /// For Basic authentication; without a user there is none.
  std::string user;
  SecretString password;
  /// More header lines, each `Name: value`. Nobody looks for line breaks in them.
  std::vector<SecretString> headers;
  /// Of a post, put or patch: form-encoded, unless a header says otherwise. Wiped after the request: it may hold
  /// secrets.
  std::string body;
  /// A tenant chose the URL: it is only followed where AddressRules permit, by a connection of its own without a proxy,
  /// and little of the answer's body is kept.
  bool untrusted_url = false;
  /// It is not written any more after this time, as when the process was stopped while it connected.
  std::optional<Clock::time_point> not_after;
};

/// A complete answer, whatever its status.
struct HttpResponse {
  int status = 0;
  std::string body;
  /// The body was longer than the client keeps; `body` is its beginning.
  bool truncated = false;
  /// From the header Retry-After (seconds or a date, RFC 9110 section 10.2.3), at most six hours.
  std::optional<std::chrono::seconds> retry_after;
};

/// No complete answer.
struct HttpFailure {
  enum class Kind {
    /// The request was not written: the peer cannot have acted on it.
    connect_failed,
    /// Written, at least in part, and no answer in time.
    timeout,
    /// Written, at least in part, and the connection broke.
    connection_lost,
    /// cancel_all() came first; `possibly_written` tells the rest.
    cancelled,
    /// Not written: `not_after` was over.
    too_late,
  };
  /// What went wrong, for people.
  enum class Reason { other, name_not_found, refused, tls, timeout, not_permitted };
  Kind kind = Kind::connect_failed;
  bool possibly_written = false;
  /// For people: libcurl's sentence, or why the URL of a tenant was not followed.
  std::string message;
  Reason reason = Reason::other;
};

using HttpResult = Result<HttpResponse, HttpFailure>;
using HttpCallback = std::function<void(HttpResult)>;

/// Sends requests; implemented by CurlClient, faked in tests.
class HttpClient {
 public:
  virtual ~HttpClient() = default;
  /// Starts a request. The callback comes from the loop, once.
  virtual void send(HttpRequest request, HttpCallback callback) = 0;
  /// Puts what was started on the wire now instead of in the loop's next turn.
  virtual void flush() = 0;
  /// Breaks off everything; the callbacks run before this returns.
  virtual void cancel_all() = 0;
};

}  // namespace byocd
