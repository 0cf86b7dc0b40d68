#include "db/database_servers.h"

#include <gtest/gtest.h>

#include <cstdlib>

namespace byocd {
namespace {

std::string listed(const std::string& conninfo) {
  std::string text;
  for (const auto& [host, address, port] : servers_of(conninfo).list) text += host + "/" + address + ":" + port + " ";
  return text;
}

class DatabaseServersTest : public testing::Test {
 protected:
  void SetUp() override { clear(); }
  void TearDown() override { clear(); }
  static void clear() {
    for (const char* variable : {"PGHOST", "PGHOSTADDR", "PGPORT", "PGTARGETSESSIONATTRS", "PGSERVICE"})
      unsetenv(variable);
  }
};

TEST_F(DatabaseServersTest, EachHostIsAServer) {
  EXPECT_EQ(listed("postgresql://byocd@a.test:5433,b.test,[::1]:1/app"), "a.test/:5433 b.test/:5432 ::1/:1 ");
  EXPECT_EQ(listed("host=a.test,b.test port=6000 dbname=app"), "a.test/:6000 b.test/:6000 ");
  EXPECT_EQ(listed("host=a.test,b.test hostaddr=10.0.0.1,10.0.0.2"), "a.test/10.0.0.1:5432 b.test/10.0.0.2:5432 ");
  EXPECT_EQ(listed("hostaddr=10.0.0.1"), "/10.0.0.1:5432 ");
  EXPECT_EQ(listed("host=/run/postgresql"), "/run/postgresql/:5432 ");
}

TEST_F(DatabaseServersTest, VariablesOfLibpqCount) {
  setenv("PGHOST", "a.test,b.test", 1);
  setenv("PGPORT", "1,2", 1);
  EXPECT_EQ(listed("app"), "a.test/:1 b.test/:2 ");
  EXPECT_EQ(listed("host=c.test port=3"), "c.test/:3 ");
}

TEST_F(DatabaseServersTest, WhatCannotBeToldApartIsLeftToLibpq) {
  for (const char* conninfo : {"", "app", "dbname=app", "host=a,b port=1,2,3", "host=a,b hostaddr=10.0.0.1",
                               "host=a,,b", "host=/run,b hostaddr=,10.0.0.1", "postgresql://[", "unheard_of=1"})
    EXPECT_EQ(listed(conninfo).substr(0, 2), "/:") << conninfo;
}

TEST_F(DatabaseServersTest, AnyServerWillDoUnlessSomebodySaysWhich) {
  EXPECT_TRUE(servers_of("host=a").any);
  EXPECT_TRUE(servers_of("host=a target_session_attrs=any").any);
  EXPECT_FALSE(servers_of("postgresql://a,b/app?target_session_attrs=read-write").any);
  setenv("PGTARGETSESSIONATTRS", "primary", 1);
  EXPECT_FALSE(servers_of("host=a").any);
}

}  // namespace
}  // namespace byocd
