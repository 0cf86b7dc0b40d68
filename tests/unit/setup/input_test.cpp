#include "setup/input.h"

#include <gtest/gtest.h>

#include <deque>

namespace byocd {
namespace {

const std::string account = "AC00000000000000000000000000000001";
const std::string token = "0000000000000000000000000000000a";

class AskForFields : public testing::Test {
 protected:
  // Nothing: the input ends.
  Result<CredentialFields, Problem> with(std::deque<std::optional<std::string>> answers) {
    return ask_for_fields(
        [answers](const std::string& question, bool hidden) mutable -> std::optional<SecretString> {
          EXPECT_EQ(hidden, question.find("not shown") != std::string::npos) << question;
          const auto answer = answers.front();
          answers.pop_front();
          return answer ? std::optional(SecretString(*answer)) : std::nullopt;
        },
        [this](const std::string& sentence) { told += sentence; });
  }
  static std::string names(const Result<CredentialFields, Problem>& fields) {
    std::string text;
    for (const auto& [name, value] : *fields) text += name + " ";
    return text;
  }

  std::string told;
};

TEST_F(AskForFields, TakesTokenAndNumber) {
  EXPECT_EQ(names(with({account, token, "+14155550100"})), "account_sid auth_token phone_number ");
  EXPECT_EQ(told, "");
}

TEST_F(AskForFields, TakesAnApiKeyAndAMessagingService) {
  EXPECT_EQ(names(with({account, "SK00000000000000000000000000000001", token, "MG00000000000000000000000000000001"})),
            "account_sid api_key_secret api_key_sid messaging_service_sid ");
}

TEST_F(AskForFields, AsksAgainWithoutQuotingTheAnswer) {
  const auto fields = with({account, token + "0", token, "+1234567890", "+14155550100"});
  ASSERT_TRUE(fields.ok());
  EXPECT_EQ(fields->at("auth_token").reveal(), token);
  EXPECT_EQ(told.find(token), std::string::npos);
  EXPECT_NE(told.find("This is not 32 letters and digits."), std::string::npos);
  EXPECT_NE(told.find("placeholder"), std::string::npos);
}

TEST_F(AskForFields, GivesUpAfterThreeTries) {
  const auto fields = with({"AC1", "", "AC00000000000000000000000000000001 x"});
  ASSERT_FALSE(fields.ok());
  EXPECT_EQ(fields.error().code, "malformed");
}

TEST_F(AskForFields, EndsWithTheInput) {
  EXPECT_EQ(with({account, std::nullopt}).error().code, "no_input");
}

TEST(ReadFieldsJson, TakesWhatTheDatabaseTakes) {
  const auto fields = read_fields_json(R"({"account_sid": "AC00000000000000000000000000000001", "region": "ie1",)"
                                       R"( "edge": "dublin", "auth_token": "0000000000000000000000000000000a",)"
                                       R"( "phone_number": "+14155550100"})");
  ASSERT_TRUE(fields.ok());
  EXPECT_EQ(fields->size(), 5u);
  EXPECT_EQ(fields->at("edge").reveal(), "dublin");
}

TEST(ReadFieldsJson, NeverQuotesTheText) {
  for (const char* text : {"", "s3cr3t", "[\"s3cr3t\"]", "{\"s3cr3t\": \"x\"}", "{\"auth_token\": \"s3cr3t\"}",
                           "{\"auth_token\": {\"s3cr3t\": 1}}", "{\"edge\": \"s3cr3t.example\"}"}) {
    const auto fields = read_fields_json(text);
    ASSERT_FALSE(fields.ok()) << text;
    EXPECT_EQ(fields.error().text().find("s3cr3t"), std::string::npos) << text;
  }
}

TEST(ReadFieldsJson, NamesTheFieldThatIsMissing) {
  EXPECT_EQ(read_fields_json("{}").error().cause, "account_sid is not set.");
  EXPECT_EQ(read_fields_json(R"({"account_sid": "AC00000000000000000000000000000001"})").error().cause,
            "auth_token is not set.");
}

}  // namespace
}  // namespace byocd
