#include "service.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstddef>
#include <cstring>
#include <map>

#include "support/manual_timers.h"

namespace byocd {
namespace {

using namespace std::chrono_literals;

/// systemd's end: what a service tells it.
class ServiceTest : public testing::Test {
 protected:
  void SetUp() override {
    socket_ = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    const std::string name = "byocd-service-test-" + std::to_string(::getpid());
    std::memcpy(address.sun_path + 1, name.data(), name.size());  // abstract: leaves no file
    const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
    ASSERT_EQ(::bind(socket_, reinterpret_cast<sockaddr*>(&address), length), 0);
    variables["NOTIFY_SOCKET"] = "@" + name;
  }
  void TearDown() override { ::close(socket_); }

  Service::Environment environment() {
    return [this](const std::string& name) {
      const auto found = variables.find(name);
      return found != variables.end() ? std::optional(found->second) : std::nullopt;
    };
  }
  std::string told() {
    char text[512];
    const ssize_t length = ::recv(socket_, text, sizeof text, 0);
    return length > 0 ? std::string(text, static_cast<std::size_t>(length)) : "";
  }

  std::map<std::string, std::string> variables;
  ManualTimers timers;
  int socket_ = -1;
};

TEST_F(ServiceTest, TellsWhatHappens) {
  Service service(timers, environment());
  service.ready();
  EXPECT_EQ(told(), "READY=1");
  service.status("Sending");
  service.status("Sending");
  EXPECT_EQ(told(), "STATUS=Sending");
  service.reloading();
  EXPECT_EQ(told().rfind("RELOADING=1\nMONOTONIC_USEC=", 0), 0U);
  service.reloaded();
  EXPECT_EQ(told(), "READY=1");
  service.stopping(20s);
  EXPECT_EQ(told(), "STOPPING=1\nEXTEND_TIMEOUT_USEC=20000000");
  EXPECT_EQ(told(), "");
}

TEST_F(ServiceTest, FeedsTheWatchdogForAsLongAsTheLoopTurns) {
  variables["WATCHDOG_USEC"] = "30000000";
  variables["WATCHDOG_PID"] = std::to_string(::getpid());
  Service service(timers, environment());
  timers.pass(60s);
  EXPECT_EQ(told(), "");  // not before it is ready
  service.ready();
  EXPECT_EQ(told(), "READY=1");
  EXPECT_EQ(told(), "WATCHDOG=1");
  EXPECT_EQ(told(), "");
  timers.pass(10s);
  EXPECT_EQ(told(), "WATCHDOG=1");
  timers.freeze(300s);
  EXPECT_EQ(told(), "");
}

TEST_F(ServiceTest, DoesNotFeedSomebodyElsesWatchdog) {
  variables["WATCHDOG_USEC"] = "30000000";
  variables["WATCHDOG_PID"] = "1";
  Service service(timers, environment());
  service.ready();
  EXPECT_EQ(told(), "READY=1");
  timers.pass(60s);
  EXPECT_EQ(told(), "");
}

TEST_F(ServiceTest, DoesNothingWithoutSystemd) {
  variables.clear();
  variables["WATCHDOG_USEC"] = "30000000";
  Service service(timers, environment());
  service.ready();
  service.stopping(1s);
  EXPECT_EQ(told(), "");
}

}  // namespace
}  // namespace byocd
