#include "queue/credential_cache.h"

#include <gtest/gtest.h>

#include "support/fake_gateway.h"
#include "support/jobs.h"
#include "support/manual_timers.h"

namespace byocd {
namespace {

using namespace std::chrono_literals;

class CredentialCacheTest : public testing::Test {
 protected:
  void get(int version = 1) {
    cache.get({"org-1", "credential-1"}, version,
              [this](CredentialCache::Answer answer) { answers.push_back(answer); });
    cache.flush();
  }
  void open(int version) {
    std::vector<OpenedCredential> opened;
    opened.push_back(make_credential(version));
    answer(gateway.opens, {std::move(opened)});
  }

  ManualTimers timers;
  FakeGateway gateway;
  CredentialCache cache{gateway, timers};
  std::vector<CredentialCache::Answer> answers;
};

TEST_F(CredentialCacheTest, AsksOnceForAllWhoWait) {
  get();
  get();
  ASSERT_EQ(gateway.opens.size(), 1u);
  open(1);
  EXPECT_EQ(answers.size(), 2u);
  get();
  EXPECT_EQ(answers.size(), 3u);
  EXPECT_TRUE(gateway.opens.empty());
}

TEST_F(CredentialCacheTest, TheEnvironmentsAccountIsGivenWithoutAsking) {
  const auto environment = std::make_shared<const OpenedCredential>(make_credential(0));
  CredentialCache with{gateway, timers, environment};
  const CredentialRef ref{"org-1", environment_credential_id};
  with.get(ref, 7, [&](CredentialCache::Answer answer) { answers.push_back(answer); });
  cache.get(ref, 7, [&](CredentialCache::Answer answer) { answers.push_back(answer); });
  with.flush();
  cache.flush();
  EXPECT_TRUE(gateway.opens.empty());
  ASSERT_EQ(answers.size(), 2u);
  ASSERT_TRUE(answers[0].ok());
  EXPECT_EQ(*answers[0], environment);
  ASSERT_FALSE(answers[1].ok());
  EXPECT_EQ(answers[1].error().kind, CredentialCache::Problem::Kind::inactive);
}

TEST_F(CredentialCacheTest, DropsWhatWasUnusedForFiveMinutes) {
  get();
  open(1);
  timers.pass(4min);
  get();
  timers.pass(4min);
  EXPECT_EQ(cache.size(), 1u);
  timers.pass(2min);
  EXPECT_EQ(cache.size(), 0u);
}

TEST_F(CredentialCacheTest, AnAnswerOlderThanTheWantedVersionIsNotUsed) {
  get(1);
  get(2);
  open(1);
  ASSERT_EQ(answers.size(), 2u);
  EXPECT_FALSE(answers[0].ok());
  EXPECT_EQ(cache.size(), 0u);
}

TEST_F(CredentialCacheTest, ANewerVersionServesAnOlderClaim) {
  get(1);
  open(3);
  get(2);
  ASSERT_EQ(answers.size(), 2u);
  EXPECT_EQ((*answers[1])->version, 3);
}

}  // namespace
}  // namespace byocd
