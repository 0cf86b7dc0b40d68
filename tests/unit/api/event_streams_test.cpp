#include "api/event_streams.h"

#include <gtest/gtest.h>

#include "support/fake_tenant_database.h"
#include "support/manual_timers.h"
#include "support/rows_of.h"

namespace byocd {
namespace {

using namespace std::chrono_literals;

const DbError expired{"28000", "byoc.token is not accepted: it has expired", "", false, ""};
const DbError connection_lost{"", "the database connection is not there", "", true, ""};

class EventStreamsTest : public testing::Test {
 protected:
  struct Client {
    int status = 0;
    std::shared_ptr<AnswerStream> stream;
    std::string text;
    bool ended = false;
  };

  // Asks for a stream; the database says whose the token is.
  std::shared_ptr<Client> open(const std::string& token, const std::string& org) {
    auto client = std::make_shared<Client>();
    streams.open(SecretString(token), [client](ApiAnswer answer) {
      client->status = answer.status;
      client->stream = answer.stream;
      if (!answer.stream) return;
      client->stream->write = [weak = std::weak_ptr<Client>(client)](std::string_view text) {
        if (const auto there = weak.lock()) there->text += text;
      };
      client->stream->end = [weak = std::weak_ptr<Client>(client)] {
        if (const auto there = weak.lock()) there->ended = true;
      };
    });
    if (database.calls.empty() || database.calls.back().statement != "rest_session_org") return client;
    const auto whose = std::move(database.calls.back());
    database.calls.pop_back();
    whose.callback(rows_of({{org}}));
    return client;
  }
  // Answers the look under way; says whose token it used.
  std::string look(QueryResult result) {
    auto call = database.next();
    EXPECT_EQ(call.statement, "rest_changes");
    call.callback(std::move(result));
    return call.token;
  }
  static QueryResult seen(const std::string& version) {
    return rows_of({{"message", "m", version, "{\"id\": \"m\"}"}});
  }

  FakeTenantDatabase database;
  ManualTimers timers;
  EventStreams streams{database, timers};
};

TEST_F(EventStreamsTest, TellsReadyThenWhatChanges) {
  const auto client = open("t1", "org");
  EXPECT_EQ(client->status, 200);
  EXPECT_EQ(look(seen("queued")), "t1");
  EXPECT_EQ(client->text, "event: ready\ndata: {}\n\n");
  timers.pass(1s);
  look(seen("queued"));
  EXPECT_EQ(client->text, "event: ready\ndata: {}\n\n");
  timers.pass(1s);
  look(seen("sent"));
  EXPECT_NE(client->text.find("event: message\ndata: {\"id\": \"m\"}\n\n"), std::string::npos);
}

TEST_F(EventStreamsTest, LooksOnceASecondForAllOfAnOrganizationWithEachTokenInTurn) {
  open("t1", "org");
  look(seen("queued"));
  open("t2", "org");
  std::string tokens = look(seen("queued"));
  for (int second = 0; second < 3; ++second) {
    timers.pass(1s);
    EXPECT_EQ(database.calls.size(), 1u);
    tokens += look(seen("queued"));
  }
  EXPECT_EQ(tokens, "t2t1t2t1");
}

TEST_F(EventStreamsTest, AsksForAllSinceTheLastLookThatWasAnswered) {
  open("t1", "org");
  look(seen("queued"));
  for (int second = 0; second < 4; ++second) {
    timers.pass(1s);
    look(fail(connection_lost));
  }
  timers.pass(1s);
  EXPECT_EQ(database.next().params, Params{"10000"}) << "five seconds, and as much for what was committed late";
}

TEST_F(EventStreamsTest, AStreamEndsWithItsToken) {
  const auto first = open("t1", "org");
  look(seen("queued"));
  const auto second = open("t2", "org");
  look(seen("queued"));
  timers.pass(1s);
  EXPECT_EQ(look(fail(expired)), "t1");
  EXPECT_TRUE(first->ended);
  EXPECT_FALSE(second->ended);
  EXPECT_EQ(look(seen("sent")), "t2") << "the others do not miss this look";
  EXPECT_NE(second->text.find("event: message"), std::string::npos);
  EXPECT_EQ(streams.count(), 1u);
}

TEST_F(EventStreamsTest, ALookThatIsSlowIsWaitedFor) {
  open("t1", "org");
  timers.pass(5s);
  EXPECT_EQ(database.calls.size(), 1u);
}

TEST_F(EventStreamsTest, NoLookWithoutAStream) {
  const auto client = open("t1", "org");
  look(seen("queued"));
  client->stream->on_gone();
  timers.pass(10s);
  EXPECT_TRUE(database.calls.empty());
  EXPECT_EQ(streams.count(), 0u);
}

TEST_F(EventStreamsTest, TooMuchToListIsToldAsReload) {
  const auto client = open("t1", "org");
  look(seen("queued"));
  std::vector<std::vector<std::optional<std::string>>> many{{"credential", "c", "1", "{\"id\": \"c\"}"}};
  for (int i = 0; i < 501; ++i) many.push_back({"message", std::to_string(i), "sent", "{}"});
  timers.pass(1s);
  look(rows_of(many));
  EXPECT_NE(client->text.find("event: reload"), std::string::npos);
  EXPECT_NE(client->text.find("event: credential"), std::string::npos);
  EXPECT_EQ(client->text.find("event: message"), std::string::npos);
}

TEST_F(EventStreamsTest, QuietStreamsAreKeptAwake) {
  const auto client = open("t1", "org");
  look(seen("queued"));
  for (int second = 0; second < 15; ++second) {
    timers.pass(1s);
    look(seen("queued"));
  }
  EXPECT_EQ(client->text, "event: ready\ndata: {}\n\n:\n\n");
}

TEST_F(EventStreamsTest, AnOrganizationHas32AndAllOfThem256) {
  for (int org = 0; org < 8; ++org) {
    for (int i = 0; i < 32; ++i) EXPECT_EQ(open("t", std::to_string(org))->status, 200);
    database.calls.clear();
    EXPECT_EQ(open("t", std::to_string(org))->status, org < 7 ? 429 : 503);
    database.calls.clear();
  }
}

TEST_F(EventStreamsTest, StopEndsAllAndTakesNoMore) {
  const auto client = open("t1", "org");
  streams.stop();
  EXPECT_TRUE(client->ended);
  EXPECT_EQ(open("t2", "org")->status, 503);
}

}  // namespace
}  // namespace byocd
