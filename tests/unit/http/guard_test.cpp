// Where URLs of tenants may lead, with real sockets and a resolver that answers as an attacker's would.
#include <dlfcn.h>
#include <gtest/gtest.h>
#include <netdb.h>

#include <atomic>
#include <condition_variable>
#include <cstdlib>
#include <map>
#include <mutex>
#include <string_view>

#include "support/curl_client_test.h"
#include "support/tiny_server.h"

namespace {

using Resolve = int (*)(const char*, const char*, const addrinfo*, addrinfo**);

std::mutex names_mutex;
// What a name means: the IPv4 addresses of each answer in turn; the last answer stays.
std::map<std::string, std::vector<std::vector<std::string>>> names;

bool is_ours(const std::string& name) {
  const std::lock_guard lock(names_mutex);
  return names.count(name) != 0;
}

std::vector<std::string> next_answer(const std::string& name) {
  const std::lock_guard lock(names_mutex);
  auto& answers = names.at(name);
  const auto answer = answers.front();
  if (answers.size() > 1) answers.erase(answers.begin());
  return answer;
}

// A name server that says nothing until the test is over with it.
struct SilentNameServer {
  static constexpr const char* name = "silent.test";
  // Longer than any request of these tests.
  static constexpr std::chrono::seconds patience{120};

  void resolve() {
    std::unique_lock lock(mutex);
    ++asked;
    changed.notify_all();
    changed.wait_for(lock, patience, [this] { return speaks; });
    ++answered;
    changed.notify_all();
  }
  int asked_so_far() {
    const std::lock_guard lock(mutex);
    return asked;
  }
  int answered_so_far() {
    const std::lock_guard lock(mutex);
    return answered;
  }
  void speak() {
    std::unique_lock lock(mutex);
    speaks = true;
    changed.notify_all();
    changed.wait(lock, [this] { return answered == asked; });
    speaks = false;
    asked = answered = 0;
  }

  std::mutex mutex;
  std::condition_variable changed;
  bool speaks = false;
  int asked = 0;
  int answered = 0;
} silent;

}  // namespace

// Takes the place of the C library's, for libcurl too.
extern "C" int getaddrinfo(const char* node, const char* service, const addrinfo* hints, addrinfo** result) {
  static const auto real = reinterpret_cast<Resolve>(dlsym(RTLD_NEXT, "getaddrinfo"));
  if (node != nullptr && std::string_view(node) == SilentNameServer::name) {
    silent.resolve();
    return EAI_AGAIN;
  }
  if (node == nullptr || !is_ours(node)) return real(node, service, hints, result);
  // Since 8.20 libcurl looks up each family on its own.
  if (hints != nullptr && hints->ai_family == AF_INET6) return EAI_NONAME;
  addrinfo** end = result;
  for (const auto& address : next_answer(node)) {
    if (const int error = real(address.c_str(), service, hints, end); error != 0) return error;
    while (*end != nullptr) end = &(*end)->ai_next;
  }
  return 0;
}

namespace byocd {
namespace {

using namespace std::chrono_literals;
using Kind = HttpFailure::Kind;
using Reason = HttpFailure::Reason;

const std::string empty_object = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";

void answer_all(Peer& peer) {
  while (!peer.read_request().empty()) peer.write(empty_object);
}

class GuardTest : public testing::Test {
 protected:
  void SetUp() override { setenv("no_proxy", "", 1); }
  void TearDown() override {
    silent.speak();
    for (const char* variable : {"http_proxy", "https_proxy", "all_proxy", "ALL_PROXY", "no_proxy"}) unsetenv(variable);
    const std::lock_guard lock(names_mutex);
    names.clear();
  }

  // Each with a client of its own has no cached names.
  std::unique_ptr<CurlClient> make_client(std::initializer_list<const char*> allowed) {
    CurlClient::Options options{60s, 4, "byocd-test"};
    for (const char* network : allowed) options.allowed_networks.push_back(Network::parse(network).value());
    return std::make_unique<CurlClient>(loop, options);
  }
  HttpResult send(CurlClient& client, const std::string& url, bool untrusted = true) {
    HttpRequest request;
    request.method = HttpRequest::Method::post;
    request.url = url;
    request.body = "{}";
    request.untrusted_url = untrusted;
    return send_and_wait(loop, client, std::move(request));
  }
  static std::string url(const std::string& host, const TinyServer& server, const std::string& scheme = "http") {
    return scheme + "://" + host + server.url().substr(server.url().rfind(':'));
  }
  static void expect_refused(const HttpResult& result, const std::string& about) {
    ASSERT_FALSE(result.ok()) << about;
    EXPECT_EQ(result.error().reason, Reason::not_permitted) << about << ": " << result.error().message;
    EXPECT_EQ(result.error().kind, Kind::connect_failed) << about;
    EXPECT_FALSE(result.error().possibly_written) << about;
  }

  Loop loop;
};

TEST_F(GuardTest, NoSpellingOfThisMachineIsFollowed) {
  TinyServer server(answer_all);
  const auto client = make_client({});
  for (const char* host :
       {"127.0.0.1", "127.1", "2130706433", "0x7f000001", "0x7f.1", "0177.0.0.1", "017700000001", "%31%32%37.0.0.1",
        "localhost", "LOCALHOST", "0.0.0.0", "0", "127.0.0.2", "169.254.169.254", "10.0.0.1"})
    for (const char* scheme : {"http", "https", "HTTPS"})
      expect_refused(send(*client, url(host, server, scheme)), std::string(scheme) + " " + host);
  EXPECT_EQ(server.connections(), 0);
}

TEST_F(GuardTest, NoIpv6AddressWithinIsFollowed) {
  TinyServer server(answer_all);
  const auto client = make_client({});
  for (const char* host :
       {"[::1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::127.0.0.1]", "[64:ff9b::7f00:1]", "[64:ff9b::]",
        "[fe80::1]", "[fe80::1%25lo]", "[fc00::1]", "[fd00::1]", "[2002:7f00:1::]", "[2001:0:7f00:1::]", "[ff02::1]"}) {
    const auto result = send(*client, url(host, server, "https"));
    ASSERT_FALSE(result.ok()) << host;
    // Where there is no IPv6 at all libcurl does not come so far.
    if (result.error().reason != Reason::name_not_found) expect_refused(result, host);
  }
  EXPECT_EQ(server.connections(), 0);
}

TEST_F(GuardTest, TheOperatorMayAllowANetwork) {
  TinyServer server(answer_all);
  const auto client = make_client({"127.0.0.0/30"});
  EXPECT_TRUE(send(*client, url("127.0.0.1", server)).ok());
  expect_refused(send(*client, url("127.0.0.4", server)), "outside of it");
  // Permitted as well, and there nobody listens.
  EXPECT_EQ(send(*client, url("127.0.0.2", server)).error().reason, Reason::refused);
}

TEST_F(GuardTest, AKeptConnectionOfSomebodyElseOpensNoDoor) {
  std::atomic<int> requests{0};
  TinyServer server([&](Peer& peer) {
    while (!peer.read_request().empty()) {
      ++requests;
      peer.write(empty_object);
    }
  });
  const auto client = make_client({});
  EXPECT_TRUE(send(*client, server.url(), false).ok());
  expect_refused(send(*client, server.url()), "an open connection");
  EXPECT_TRUE(send(*client, server.url(), false).ok());
  EXPECT_EQ(requests, 2);
  EXPECT_EQ(server.connections(), 1);
}

TEST_F(GuardTest, ItsOwnConnectionIsNotKept) {
  TinyServer server(answer_all);
  const auto client = make_client({"127.0.0.1"});
  EXPECT_TRUE(send(*client, server.url()).ok());
  EXPECT_TRUE(send(*client, server.url()).ok());
  EXPECT_TRUE(send(*client, server.url(), false).ok());
  EXPECT_EQ(server.connections(), 3);
}

TEST_F(GuardTest, ARedirectIsAnAnswer) {
  std::atomic<int> requests{0};
  TinyServer server([&](Peer& peer) {
    const std::string request = peer.read_request();
    if (request.empty()) return;
    ++requests;
    peer.write("HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1/\r\nContent-Length: 0\r\n\r\n");
  });
  const auto client = make_client({"127.0.0.1"});
  EXPECT_EQ(send(*client, server.url())->status, 302);
  EXPECT_EQ(requests, 1);
}

TEST_F(GuardTest, ANameThatMeansAnotherAddressTheNextTimeDoesNotHelp) {
  TinyServer good(answer_all);
  TinyServer inner(answer_all, "127.0.0.2");
  names["rebinding.test"] = {{"127.0.0.1"}, {"127.0.0.2"}, {"127.0.0.1"}, {"127.0.0.2"}};
  for (int round = 0; round < 2; ++round) {
    EXPECT_TRUE(send(*make_client({"127.0.0.1"}), url("rebinding.test", good)).ok());
    expect_refused(send(*make_client({"127.0.0.1"}), url("rebinding.test", inner)), "the second answer");
  }
  // The addresses of one answer: the permitted one is taken, whichever comes first.
  names["both.test"] = {{"127.0.0.2", "127.0.0.1"}};
  EXPECT_TRUE(send(*make_client({"127.0.0.1"}), url("both.test", good)).ok());
  // It does not answer, so that libcurl tries the other one.
  names["either.test"] = {{"127.0.0.1", "127.0.0.2"}};
  EXPECT_EQ(send(*make_client({"127.0.0.1"}), url("either.test", inner)).error().reason, Reason::refused);
  EXPECT_EQ(good.connections(), 3);
  EXPECT_EQ(inner.connections(), 0);
}

TEST_F(GuardTest, NoProxyOfTheEnvironmentLeadsAround) {
  TinyServer proxy(answer_all);
  const std::string address = proxy.url().substr(0, proxy.url().rfind('/'));
  for (const char* variable : {"http_proxy", "https_proxy", "all_proxy", "ALL_PROXY"})
    setenv(variable, address.c_str(), 1);
  names["inner.test"] = {{"127.0.0.1"}};
  names["outer.test"] = {{"127.0.0.2"}};
  const auto client = make_client({"127.0.0.2"});
  // So it works at all.
  EXPECT_TRUE(send(*client, "http://inner.test/", false).ok());
  EXPECT_EQ(proxy.connections(), 1);
  expect_refused(send(*client, "http://inner.test/"), "http");
  expect_refused(send(*client, "https://inner.test/"), "https");
  // A permitted one is connected to, not the proxy.
  TinyServer outer(answer_all, "127.0.0.2");
  EXPECT_TRUE(send(*client, url("outer.test", outer)).ok());
  EXPECT_EQ(outer.connections(), 1);
  EXPECT_EQ(proxy.connections(), 1);
}

// Whatever ends the request first, the loop does not wait for the resolver's thread, which outlives the client here.
TEST_F(GuardTest, ASilentNameServerHoldsNothingUp) {
  const std::string url = std::string("https://") + SilentNameServer::name + "/";
  {
    CurlClient impatient(loop, {100ms, 4, "byocd-test"});
    const auto result = send(impatient, url);
    ASSERT_FALSE(result.ok());
    EXPECT_EQ(result.error().reason, Reason::timeout) << result.error().message;
    EXPECT_FALSE(result.error().possibly_written);
    EXPECT_EQ(silent.answered_so_far(), 0) << "ended by its time";
  }
  {
    const auto client = make_client({});
    std::unique_ptr<Timer> look;
    look = loop.make_timer([&, before = silent.asked_so_far()] {
      if (silent.asked_so_far() > before) return client->cancel_all();
      look->start(10ms);
    });
    look->start(10ms);
    const auto result = send(*client, url);
    ASSERT_FALSE(result.ok());
    EXPECT_EQ(result.error().kind, Kind::cancelled);
    EXPECT_EQ(silent.answered_so_far(), 0) << "broken off";
  }
}

TEST_F(GuardTest, LookupsOfOthersDoNotWaitForSilentNameServers) {
  TinyServer server(answer_all);
  names["other.test"] = {{"127.0.0.1"}};
  const auto client = make_client({"127.0.0.1"});
  for (int i = 0; i < 32; ++i) {
    HttpRequest request;
    request.url = std::string("https://") + SilentNameServer::name + "/";
    request.untrusted_url = true;
    client->send(std::move(request), [](const HttpResult&) {});
  }
  const auto result = send(*client, url("other.test", server));
  EXPECT_TRUE(result.ok()) << result.error().message;
  EXPECT_EQ(silent.answered_so_far(), 0);
}

TEST_F(GuardTest, LittleOfAnAnswerIsKept) {
  TinyServer server([](Peer& peer) {
    peer.read_request();
    peer.write("HTTP/1.1 200 OK\r\n\r\n");
    const std::string block(1 << 20, 'x');
    while (peer.write(block)) {
    }
  });
  const auto result = send(*make_client({"127.0.0.1"}), server.url());
  ASSERT_TRUE(result.ok()) << result.error().message;
  EXPECT_TRUE(result->truncated);
  EXPECT_EQ(result->body.size(), std::size_t{64} << 10);
}

TEST_F(GuardTest, EndlessHeadersAreNoAnswer) {
  TinyServer server([](Peer& peer) {
    peer.read_request();
    peer.write("HTTP/1.1 200 OK\r\n");
    const std::string line = "X-Filler: " + std::string(1'000, 'x') + "\r\n";
    while (peer.write(line)) {
    }
  });
  const auto result = send(*make_client({"127.0.0.1"}), server.url());
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.error().kind, Kind::connection_lost) << result.error().message;
}

}  // namespace
}  // namespace byocd
