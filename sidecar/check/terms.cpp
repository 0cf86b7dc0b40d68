#include "terms.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdlib>
#include <random>
#include <string_view>
#include <thread>

namespace byocd {

CheckTerms blocking_terms(HttpCaller& caller) {
  CheckTerms terms;
  terms.ask = [&caller](HttpRequest request) { return caller.call(std::move(request)); };
  terms.wait = [](std::chrono::milliseconds time) { std::this_thread::sleep_for(time); };
  terms.now = Clock::now;
  terms.mark = fmt::format("{:06x}", std::random_device{}() & 0xffffff);
  return terms;
}

bool wants_colors() {
  const auto variable = [](const char* name) {
    const char* value = std::getenv(name);
    return std::string_view(value != nullptr ? value : "");
  };
  return isatty(STDOUT_FILENO) != 0 && variable("NO_COLOR").empty() && variable("TERM") != "dumb";
}

}  // namespace byocd
