// One request to our HTTP server and its answer, as plain data.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "../clock.h"

namespace byocd {

struct ApiRequest {
  /// What the log, and the answer's X-Request-Id, call it: the client's X-Request-Id if it has one that is fit.
  std::string id;
  Clock::time_point since = {};
  /// `GET`, `POST`, ...; `GET` for a HEAD too, whose answer loses its body on the way.
  std::string method;
  /// As it stands in the request, not decoded.
  std::string path;
  std::string query;
  /// The path segment that stands where the route has `{name}`, not decoded.
  std::string parameter;
  std::string body;
  /// By lower-case name.
  std::map<std::string, std::string> headers;

  /// The header's value, empty when it is absent. `name` in lower case.
  const std::string& header(const std::string& name) const;
  /// Path and query as they were requested.
  std::string target() const { return query.empty() ? path : path + "?" + query; }
};

/// An answer's body that is written bit by bit. Whoever makes it sets on_gone, the server the rest.
struct AnswerStream {
  /// The client is gone, or was too slow to read: nothing can be written any more. Not called after end().
  std::function<void()> on_gone;
  /// Sends `text`; does nothing before the stream is open and after it is gone.
  std::function<void(std::string_view text)> write = [](std::string_view) {};
  /// Ends the answer.
  std::function<void()> end = [] {};
};

struct ApiAnswer {
  int status = 200;
  std::string content_type;
  std::string body;
  /// More headers, by name.
  std::vector<std::pair<std::string, std::string>> headers = {};
  /// Goes on after `body`; null for all but streams.
  std::shared_ptr<AnswerStream> stream = {};
};

/// Takes the answer, now or later, once. An answer whose client has gone is dropped.
using Reply = std::function<void(ApiAnswer)>;

/// 204.
ApiAnswer empty_answer();
ApiAnswer json_answer(int status, const nlohmann::ordered_json& document);
/// An error as a problem document (RFC 9457). `detail` is a sentence.
ApiAnswer problem_answer(int status, const std::string& title, const std::string& detail);

}  // namespace byocd
