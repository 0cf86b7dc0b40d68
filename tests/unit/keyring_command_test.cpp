#include "keyring_command.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "crypto/keyring.h"

namespace byocd {
namespace {

class KeyringCommandTest : public testing::Test {
 protected:
  KeyringCommandTest() {
    std::string name = (std::filesystem::temp_directory_path() / "byocd-keyring-XXXXXX").string();
    folder = mkdtemp(name.data());
    path = folder / "ring";
  }
  ~KeyringCommandTest() override { std::filesystem::remove_all(folder); }

  std::string text() const {
    std::stringstream all;
    all << std::ifstream(path).rdbuf();
    return all.str();
  }
  byoc::Keyring parsed() const {
    byoc::Keyring ring{};
    EXPECT_EQ(byoc::parse_keyring(text(), ring).error, byoc::KeyringError::none);
    return ring;
  }
  mode_t mode() const {
    struct stat info {};
    stat(path.c_str(), &info);
    return info.st_mode & 07777;
  }

  std::filesystem::path folder;
  std::filesystem::path path;
};

TEST_F(KeyringCommandTest, GeneratesARingThatOnlyItsOwnerReads) {
  EXPECT_EQ(keyring_generate(path), 0);
  EXPECT_EQ(mode(), 0600u);
  EXPECT_EQ(parsed().count, 1u);
}

TEST_F(KeyringCommandTest, NeverOverwrites) {
  EXPECT_EQ(keyring_generate(path), 0);
  const std::string before = text();
  EXPECT_EQ(keyring_generate(path), 1);
  EXPECT_EQ(text(), before);
}

TEST_F(KeyringCommandTest, AddRetiresTheOldKey) {
  keyring_generate(path);
  const std::string old = parsed().active()->id;
  EXPECT_EQ(keyring_add(path), 0);
  const byoc::Keyring ring = parsed();
  ASSERT_EQ(ring.count, 2u);
  EXPECT_NE(ring.active()->id, old);
  EXPECT_FALSE(ring.find(old)->active);
  EXPECT_EQ(mode(), 0600u);
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder), {}), 1);
}

TEST_F(KeyringCommandTest, ListShowsNoKey) {
  keyring_generate(path);
  testing::internal::CaptureStdout();
  EXPECT_EQ(keyring_list(path), 0);
  fflush(stdout);
  const std::string shown = testing::internal::GetCapturedStdout();
  EXPECT_NE(shown.find(parsed().keys[0].id), std::string::npos);
  EXPECT_LT(shown.size(), 40u);
}

TEST_F(KeyringCommandTest, AFullRingTakesNoMore) {
  keyring_generate(path);
  for (std::size_t i = 1; i < byoc::keyring_capacity; ++i) ASSERT_EQ(keyring_add(path), 0);
  EXPECT_EQ(keyring_add(path), 1);
  EXPECT_EQ(parsed().count, byoc::keyring_capacity);
}

TEST_F(KeyringCommandTest, ADamagedRingIsLeftAlone) {
  std::ofstream(path) << "k1 active 2026-01-01 AAAA 00000000\n";
  EXPECT_EQ(keyring_add(path), 1);
  EXPECT_EQ(keyring_list(path), 1);
  EXPECT_EQ(text(), "k1 active 2026-01-01 AAAA 00000000\n");
}

TEST_F(KeyringCommandTest, AMissingFileIsAnError) {
  EXPECT_EQ(keyring_list(path), 1);
}

}  // namespace
}  // namespace byocd
