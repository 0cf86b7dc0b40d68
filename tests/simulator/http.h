/// One HTTP exchange as the rest of the simulator sees it: no libevent type in sight.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

namespace simulator {

/// What a client asked. All views end with the call that the request is given to.
struct request {
  std::string_view method;
  std::string_view path;   // still percent-encoded
  std::string_view query;  // without `?`, still encoded
  std::string_view authorization;
  std::string_view content_type;
  std::string_view body;
};

/// How an answer leaves the machine.
enum class manner {
  whole,     // as any server would
  dribbled,  // in small pieces over `spread`
  cut,       // half of the body that Content-Length announces, then the connection closes
  reset,     // none: TCP RST
  never,     // none: the connection stays open until the client gives up
  held,      // as any server would, once held answers are released
};

/// What the client gets.
struct answer {
  int status = 200;
  std::string body;
  const char* content_type = "application/json";
  std::optional<int> retry_after;  // seconds, as the Retry-After header
  std::string location;            // adds Location
  bool challenge = false;          // adds WWW-Authenticate, as every 401 must (RFC 9110, section 15.5.2)
  bool is_control = false;         // control requests are not counted
  manner how = manner::whole;
  std::chrono::milliseconds delay{0};   // before anything is sent
  std::chrono::milliseconds spread{0};  // for manner::dribbled
};

}  // namespace simulator
