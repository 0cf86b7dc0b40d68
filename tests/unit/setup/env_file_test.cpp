#include "setup/env_file.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "support/jobs.h"

namespace byocd {
namespace {

CredentialFields with_token() {
  return make_fields({{"account_sid", "AC1"}, {"auth_token", "t0k"}, {"phone_number", "+15005550006"}});
}

std::string merged(std::string_view text, const CredentialFields& fields) {
  return merge_env(text, fields).reveal();
}

TEST(MergeEnv, FillsInTheLinesThatAreThere) {
  EXPECT_EQ(merged("# note\nOTHER=1\nTWILIO_AUTH_TOKEN=old\n\nTWILIO_ACCOUNT_SID=\nLAST='a b'\nTWILIO_PHONE_NUMBER=x\n",
                   with_token()),
            "# note\nOTHER=1\nTWILIO_AUTH_TOKEN=t0k\n\nTWILIO_ACCOUNT_SID=AC1\nLAST='a b'\n"
            "TWILIO_PHONE_NUMBER=+15005550006\n");
}

TEST(MergeEnv, AppendsWhatHasNoLine) {
  EXPECT_EQ(merged("OTHER=1", with_token()),
            "OTHER=1\nTWILIO_ACCOUNT_SID=AC1\nTWILIO_AUTH_TOKEN=t0k\nTWILIO_PHONE_NUMBER=+15005550006\n");
}

TEST(MergeEnv, KeepsExportAndSetsEachVariableOnce) {
  EXPECT_EQ(merged("  export TWILIO_ACCOUNT_SID=\"AC9\"\nTWILIO_ACCOUNT_SID=AC8\nexport TWILIO_AUTH_TOKEN=x\n"
                   "TWILIO_PHONE_NUMBER=\n",
                   with_token()),
            "export TWILIO_ACCOUNT_SID=AC1\nexport TWILIO_AUTH_TOKEN=t0k\nTWILIO_PHONE_NUMBER=+15005550006\n");
}

TEST(MergeEnv, RemovesWhatWouldBeUsedInstead) {
  const auto fields = make_fields(
      {{"account_sid", "AC1"}, {"api_key_sid", "SK1"}, {"api_key_secret", "s"}, {"messaging_service_sid", "MG1"}});
  EXPECT_EQ(merged("TWILIO_ACCOUNT_SID=\nTWILIO_AUTH_TOKEN=old\n# TWILIO_API_KEY=\n# TWILIO_API_SECRET=\n"
                   "TWILIO_PHONE_NUMBER=+1\n#TWILIO_MESSAGING_SERVICE_SID=\n",
                   fields),
            "TWILIO_ACCOUNT_SID=AC1\nTWILIO_API_KEY=SK1\nTWILIO_API_SECRET=s\nTWILIO_MESSAGING_SERVICE_SID=MG1\n");
}

TEST(MergeEnv, LeavesCommentsAlone) {
  const std::string comments = "# TWILIO_AUTH_TOKEN=old one\n# the TWILIO_AUTH_TOKEN=\n# TWILIO_API_KEY=\n";
  EXPECT_TRUE(merged(comments, with_token()).starts_with(comments));
}

class WriteEnvFile : public testing::Test {
 protected:
  WriteEnvFile() {
    std::string name = testing::TempDir() + "/byocd-env-XXXXXX";
    folder = mkdtemp(name.data());
  }
  ~WriteEnvFile() override { std::filesystem::remove_all(folder); }
  std::string content(const std::string& name) const {
    std::stringstream text;
    text << std::ifstream(folder / name).rdbuf();
    return text.str();
  }
  std::string code(const std::string& name, bool force) const {
    const auto written = write_env_file((folder / name).string(), with_token(), force);
    return written ? "" : written.error().code;
  }
  int mode(const std::string& name) const {
    struct stat info {};
    stat((folder / name).c_str(), &info);
    return info.st_mode & 0777;
  }
  std::size_t files() const {
    return static_cast<std::size_t>(std::distance(std::filesystem::directory_iterator(folder), {}));
  }

  std::filesystem::path folder;
};

TEST_F(WriteEnvFile, MakesOneFromTheExample) {
  EXPECT_EQ(code(".env", false), "");
  EXPECT_EQ(mode(".env"), 0600);
  EXPECT_EQ(files(), 1u);
  const std::string text = content(".env");
  EXPECT_NE(text.find("# From https://console.twilio.com"), std::string::npos);
  EXPECT_NE(text.find("\nTWILIO_ACCOUNT_SID=AC1\nTWILIO_AUTH_TOKEN=t0k\n"), std::string::npos);
  EXPECT_NE(text.find("\n# TWILIO_API_KEY=\n"), std::string::npos);
}

TEST_F(WriteEnvFile, ReplacesOnlyWhenToldTo) {
  std::ofstream(folder / ".env") << "OTHER=1\nTWILIO_AUTH_TOKEN=old\n";
  chmod((folder / ".env").c_str(), 0644);
  EXPECT_EQ(code(".env", false), "file_exists");
  EXPECT_EQ(content(".env"), "OTHER=1\nTWILIO_AUTH_TOKEN=old\n");
  EXPECT_EQ(code(".env", true), "");
  EXPECT_TRUE(content(".env").starts_with("OTHER=1\nTWILIO_AUTH_TOKEN=t0k\n"));
  EXPECT_EQ(mode(".env"), 0600);
  EXPECT_EQ(files(), 1u);
}

TEST_F(WriteEnvFile, FollowsALink) {
  std::ofstream(folder / "real") << "OTHER=1\n";
  std::filesystem::create_symlink("real", folder / ".env");
  EXPECT_EQ(code(".env", true), "");
  EXPECT_TRUE(std::filesystem::is_symlink(folder / ".env"));
  EXPECT_TRUE(content("real").starts_with("OTHER=1\nTWILIO_ACCOUNT_SID=AC1\n"));
}

TEST_F(WriteEnvFile, SaysWhyItCannot) {
  const auto written = write_env_file((folder / "none" / ".env").string(), with_token(), false);
  ASSERT_FALSE(written.ok());
  EXPECT_NE(written.error().cause.find("No such file or directory"), std::string::npos);
  EXPECT_EQ(written.error().text().find("t0k"), std::string::npos);
}

}  // namespace
}  // namespace byocd
