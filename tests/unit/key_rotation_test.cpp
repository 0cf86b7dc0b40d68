#include "key_rotation.h"

#include <gtest/gtest.h>

namespace byocd {
namespace {

// A database where each call does at most `batch` and another session may hold what remains.
struct FakeKeys final : KeyGateway {
  std::int64_t keys = 0;
  std::int64_t batch = 1000;
  std::vector<PendingOrganization> organizations;
  std::optional<DbError> error;
  int stuck = 0;  // calls that find everything held by another session
  int calls = 0;

  Result<std::int64_t, DbError> keys_to_rewrap() override { return keys; }
  Result<std::int64_t, DbError> rewrap() override {
    ++calls;
    if (error) return fail(*error);
    if (stuck > 0) return --stuck, keys;
    return keys -= std::min(keys, batch);
  }
  Result<std::vector<PendingOrganization>, DbError> organizations_to_reencrypt(
      const std::optional<std::string>&) override {
    return organizations;
  }
  Result<std::int64_t, DbError> reencrypt(const std::string& org_id) override {
    ++calls;
    if (error) return fail(*error);
    for (auto& organization : organizations)
      if (organization.id == org_id) return organization.credentials -= std::min(organization.credentials, batch);
    return fail(DbError{"P0002", "no such organization", "", false});
  }
};

class KeyRotationTest : public testing::Test {
 protected:
  KeyRotationTest() {
    terms.interrupted = [this] { return keys.calls >= interrupt_after; };
    terms.wait = [this] { ++waits; };
    terms.write = [this](const std::string& text) { written += text; };
    terms.report = [this](const std::string& text) { reported += text; };
  }

  FakeKeys keys;
  RotationTerms terms;
  int interrupt_after = 1'000'000;
  int waits = 0;
  std::string written;
  std::string reported;
};

TEST_F(KeyRotationTest, RewrapsUntilNothingRemains) {
  keys.keys = 2500;
  EXPECT_EQ(rewrap_all(keys, terms), 0);
  EXPECT_EQ(written,
            "0 of 2500 data keys re-wrapped\n1000 of 2500 data keys re-wrapped\n2000 of 2500 data keys re-wrapped\n"
            "2500 of 2500 data keys re-wrapped\n");
  EXPECT_EQ(waits, 0);
}

TEST_F(KeyRotationTest, WaitsWhileAnotherSessionHasTheRest) {
  keys.keys = 10;
  keys.stuck = 3;
  EXPECT_EQ(rewrap_all(keys, terms), 0);
  EXPECT_EQ(waits, 3);
}

TEST_F(KeyRotationTest, StopsBetweenBatchesAndGoesOnNextTime) {
  keys.keys = 3000;
  interrupt_after = 1;
  EXPECT_EQ(rewrap_all(keys, terms), 1);
  EXPECT_EQ(reported, "interrupted: run the same command again to go on");
  EXPECT_EQ(keys.keys, 2000);
  interrupt_after = 1'000'000;
  EXPECT_EQ(rewrap_all(keys, terms), 0);
}

TEST_F(KeyRotationTest, TellsARefusalFromALostDatabase) {
  keys.keys = 1;
  keys.error = DbError{"42501", "permission denied for function rewrap_keys", "", false};
  EXPECT_EQ(rewrap_all(keys, terms), 1);
  EXPECT_NE(reported.find("byoc.grant_admin"), std::string::npos);
  keys.error = DbError{"", "server closed the connection", "", true};
  EXPECT_EQ(rewrap_all(keys, terms), 3);
}

TEST_F(KeyRotationTest, ReencryptsOneOrganizationAfterTheOther) {
  keys.organizations = {{"a", 3}, {"b", 2}};
  keys.batch = 2;
  EXPECT_EQ(reencrypt_all(keys, std::nullopt, terms), 0);
  EXPECT_EQ(written,
            "0 of 5 credentials re-encrypted\n2 of 5 credentials re-encrypted\n3 of 5 credentials re-encrypted\n"
            "5 of 5 credentials re-encrypted\n");
}

TEST_F(KeyRotationTest, DrawsABarOverItselfOnATerminal) {
  keys.keys = 4;
  keys.batch = 1;
  terms.terminal = true;
  EXPECT_EQ(rewrap_all(keys, terms), 0);
  EXPECT_NE(written.find("\r[###############...............]  50%  2 of 4 data keys re-wrapped"), std::string::npos);
  EXPECT_EQ(written.back(), '\n');
}

TEST_F(KeyRotationTest, NothingToDoIsDone) {
  EXPECT_EQ(rewrap_all(keys, terms), 0);
  EXPECT_EQ(reencrypt_all(keys, std::nullopt, terms), 0);
  EXPECT_NE(written.find("0 of 0 data keys re-wrapped"), std::string::npos);
}

}  // namespace
}  // namespace byocd
