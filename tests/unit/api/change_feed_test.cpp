#include "api/change_feed.h"

#include <gtest/gtest.h>

namespace byocd {
namespace {

std::string ids(const std::vector<Sight>& sights) {
  std::string text;
  for (const auto& sight : sights) text += sight.id + "=" + sight.version + " ";
  return text;
}

Sight sight(std::string id, std::string version) {
  return {"message", std::move(id), std::move(version), "{}"};
}

TEST(ChangeFeed, TellsWhatTheLookBeforeDidNotShow) {
  ChangeFeed feed;
  EXPECT_FALSE(feed.begun());
  EXPECT_EQ(ids(feed.changes({sight("a", "queued"), sight("b", "sent")})), "") << "the first look is where it begins";
  EXPECT_TRUE(feed.begun());
  EXPECT_EQ(ids(feed.changes({sight("a", "queued"), sight("b", "sent")})), "");
  EXPECT_EQ(ids(feed.changes({sight("a", "sent"), sight("b", "sent"), sight("c", "queued")})), "a=sent c=queued ");
}

TEST(ChangeFeed, ForgetsWhatIsOutOfSight) {
  ChangeFeed feed;
  feed.changes({sight("a", "sent")});
  EXPECT_EQ(ids(feed.changes({})), "");
  EXPECT_EQ(ids(feed.changes({sight("a", "sent")})), "a=sent ");
}

TEST(ChangeFeed, WritesEventsAsTheStandardSays) {
  EXPECT_EQ(server_sent_event("message", "{\"id\": 1}"), "event: message\ndata: {\"id\": 1}\n\n");
}

}  // namespace
}  // namespace byocd
