#include "db/server_search.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <libpq-fe.h>

#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <optional>

#include "db/connection.h"
#include "support/tiny_postgres.h"

namespace byocd {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

// Name servers. One that has nothing to say of a name is silent until the test is over. A thread that begins only then
// still finds them.
class Names {
 public:
  void end() {
    std::unique_lock lock(mutex_);
    over_ = true;
    changed_.notify_all();
    changed_.wait(lock, [this] { return silent_ == 0; });
  }
  std::map<std::string, std::vector<std::string>> known;
  Addresses look_up(const std::string& name) {
    std::unique_lock lock(mutex_);
    ++asked_[name];
    if (const auto found = known.find(name); found != known.end()) return found->second;
    ++silent_;
    changed_.wait(lock, [this] { return over_; });
    --silent_;
    changed_.notify_all();
    return fail(std::string("silent"));
  }
  int asked(const std::string& name) {
    const std::lock_guard lock(mutex_);
    return asked_[name];
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<std::string, int> asked_;
  int silent_ = 0;
  bool over_ = false;
};

void serve(Peer& peer, bool is_standby) {
  peer.write(pg_welcome(is_standby));
  peer.wait_for_close();
}
void primary(Peer& peer) {
  serve(peer, false);
}
void standby(Peer& peer) {
  serve(peer, true);
}
void silent(Peer& peer) {
  peer.wait_for_close();
}

class ServerSearchTest : public testing::Test {
 protected:
  ~ServerSearchTest() override { names.end(); }
  Database database(const std::string& servers) {
    Database database;
    database.conninfo = servers + " user=byocd dbname=app sslmode=disable gssencmode=disable";
    database.lookup = [names = held_names](const std::string& name) { return names->look_up(name); };
    return database;
  }
  // The session, or why there is none.
  Result<ConnectionHandle, std::string> search(const std::string& servers, const std::string& avoided = "") {
    const Database where = database(servers);
    Resolver resolver(loop, where.lookup);
    ServerSearch search(loop, resolver, where);
    std::optional<Result<ConnectionHandle, std::string>> found;
    search.start(avoided, [&](auto result) {
      found.emplace(std::move(result));
      loop.stop();
    });
    const auto patience = loop.make_timer([this] { loop.stop(); });
    patience->start(60s);
    loop.run();
    if (!found) return fail(std::string("no result"));
    return std::move(*found);
  }
  static std::string port_found(const Result<ConnectionHandle, std::string>& result) {
    return result ? PQport(result.value().get()) : "none";
  }

  std::shared_ptr<Names> held_names = std::make_shared<Names>();
  Names& names = *held_names;
  Loop loop;
};

TEST_F(ServerSearchTest, ASilentNameServerHoldsUpNothing) {
  TinyServer server(primary);
  names.known["b.test"] = {"127.0.0.1"};
  const auto found = search("host=a.test,b.test port=" + port_of(server));
  ASSERT_TRUE(found.ok()) << found.error();
  EXPECT_STREQ(PQhost(found.value().get()), "b.test") << "what certificates and password files go by";
  EXPECT_STREQ(PQhostaddr(found.value().get()), "127.0.0.1");
  EXPECT_LE(names.asked("a.test"), 1);
}

TEST_F(ServerSearchTest, EveryAddressOfANameIsTried) {
  TinyServer server(primary);
  names.known["a.test"] = {"127.0.0.9", "::1", "127.0.0.1"};
  EXPECT_EQ(port_found(search("host=a.test port=" + port_of(server))), port_of(server));
}

TEST_F(ServerSearchTest, NamesAreLookedUpEachTime) {
  TinyServer server(primary);
  names.known["a.test"] = {"127.0.0.9"};
  EXPECT_FALSE(search("host=a.test port=" + port_of(server)).ok());
  names.known["a.test"] = {"127.0.0.1"};
  EXPECT_TRUE(search("host=a.test port=" + port_of(server)).ok());
}

TEST_F(ServerSearchTest, OneLookupServesAllWhoAsk) {
  names.known["b.test"] = {"127.0.0.1"};
  Resolver resolver(loop, [names = held_names](const std::string& name) { return names->look_up(name); });
  int called = 0;
  std::vector<Resolver::Request> requests;
  for (int i = 0; i < 3; ++i) requests.push_back(resolver.resolve("a.test", [&](const Addresses&) { ++called; }));
  requests.push_back(resolver.resolve("b.test", [&](const Addresses& addresses) {
    EXPECT_EQ(addresses.value(), std::vector<std::string>{"127.0.0.1"});
    loop.stop();
  }));
  loop.run();
  EXPECT_EQ(called, 0);
  EXPECT_LE(names.asked("a.test"), 1);
}

TEST_F(ServerSearchTest, AStandbyIsPassedOver) {
  TinyServer first(standby), second(primary);
  const std::string both = "host=127.0.0.1,127.0.0.1 port=" + port_of(first) + "," + port_of(second);
  EXPECT_EQ(port_found(search(both)), port_of(second));
  EXPECT_EQ(port_found(search(both + " target_session_attrs=read-write")), port_of(second));
  const auto alone = search("host=127.0.0.1 port=" + port_of(first));
  ASSERT_FALSE(alone.ok());
  EXPECT_THAT(alone.error(), HasSubstr("server is in hot standby mode"));
}

TEST_F(ServerSearchTest, AServerThatSaysNothingHoldsUpNothing) {
  TinyServer first(silent), second(primary);
  EXPECT_EQ(port_found(search("host=127.0.0.1,127.0.0.1 port=" + port_of(first) + "," + port_of(second))),
            port_of(second));
}

TEST_F(ServerSearchTest, EveryReasonIsTold) {
  TinyServer server(standby);
  names.known["a.test"] = {"127.0.0.9"};
  const auto found = search("host=a.test,127.0.0.1 port=" + port_of(server));
  ASSERT_FALSE(found.ok());
  EXPECT_THAT(found.error(), HasSubstr("127.0.0.9"));
  EXPECT_THAT(found.error(), HasSubstr("; "));
  EXPECT_THAT(found.error(), HasSubstr("server is in hot standby mode"));
}

TEST_F(ServerSearchTest, ThePlaceToAvoidIsNotTried) {
  TinyServer first(primary), second(primary);
  names.known["a.test"] = {"127.0.0.1"};
  const std::string avoided = "a.test " + port_of(first);
  EXPECT_EQ(port_found(search("host=a.test,127.0.0.1 port=" + port_of(first) + "," + port_of(second), avoided)),
            port_of(second));
  EXPECT_FALSE(search("host=a.test port=" + port_of(first), avoided).ok());
  EXPECT_EQ(first.connections(), 0);
}

TEST_F(ServerSearchTest, AnotherAddressOfTheOnlyServerIsNoSuccessor) {
  TinyServer server([](Peer& peer) { primary(peer); });
  names.known["a.test"] = {"127.0.0.9", "127.0.0.1"};
  const std::string conninfo = "host=a.test port=" + port_of(server);
  const auto session = search(conninfo);
  ASSERT_TRUE(session.ok()) << session.error();
  EXPECT_FALSE(search(conninfo, place_of(session.value().get())).ok());
  EXPECT_FALSE(search(conninfo, "what libpq calls a server without a name").ok());
  EXPECT_EQ(server.connections(), 1);
}

// Neither a server nor a name server that says nothing keeps a standby from being asked again.
TEST_F(ServerSearchTest, APromotionIsSeenWhileOthersAreSilent) {
  std::atomic<int> asked = 0;
  TinyServer first(silent), second([&](Peer&peer) { serve(peer, ++asked < 3); });
  names.known["b.test"] = {"127.0.0.1"};
  EXPECT_EQ(port_found(search("host=127.0.0.1,a.test,b.test port=" + port_of(first) + ",1," + port_of(second))),
            port_of(second));
  EXPECT_EQ(asked, 3);
}

// The first server lets us in and then hangs, for good; after a while the second one is the primary.
TEST_F(ServerSearchTest, AConnectionLeavesAServerThatHangsForItsSuccessor) {
  std::atomic<int> asked = 0;
  TinyServer first([](Peer& peer) { primary(peer); });
  TinyServer second([&](Peer& peer) { serve(peer, ++asked < 2); });
  Connection connection(loop, "test",
                        database("host=127.0.0.1,127.0.0.1 port=" + port_of(first) + "," + port_of(second)));
  std::optional<bool> answered;
  int lost = 0;
  Connection::Handlers handlers;
  handlers.on_ready = [&] {
    connection.query({"ask", "SELECT 1"}, {}, [&](const QueryResult& result) { answered = result.ok(); });
  };
  handlers.on_lost = [&] {
    ++lost;
    loop.stop();
  };
  connection.set_handlers(std::move(handlers));
  connection.open();
  loop.run();
  EXPECT_EQ(lost, 1);
  EXPECT_EQ(answered, false);
  EXPECT_EQ(asked, 2) << "a standby is no successor";
}

}  // namespace
}  // namespace byocd
