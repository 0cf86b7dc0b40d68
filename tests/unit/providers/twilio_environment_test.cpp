#include "providers/twilio_environment.h"

#include <gtest/gtest.h>

#include <map>

namespace byocd {
namespace {

using Variables = std::map<std::string, std::string>;

Result<CredentialFields, Problem> read(const Variables& variables) {
  return twilio_environment([&](const std::string& name) -> std::optional<std::string> {
    const auto found = variables.find(name);
    return found == variables.end() ? std::nullopt : std::optional(found->second);
  });
}

const Variables complete{{"TWILIO_ACCOUNT_SID", "AC00000000000000000000000000000001"},
                         {"TWILIO_AUTH_TOKEN", "0000000000000000000000000000000a"},
                         {"TWILIO_PHONE_NUMBER", "+15005550006"}};

Variables with(Variables variables, const std::string& name, const std::string& value) {
  variables[name] = value;
  return variables;
}

TEST(TwilioEnvironment, ReadsTheThreeVariables) {
  const auto fields = read(complete);
  ASSERT_TRUE(fields.ok());
  EXPECT_EQ(fields->size(), 3u);
  EXPECT_EQ(find_field(*fields, "auth_token")->reveal(), "0000000000000000000000000000000a");
  EXPECT_EQ(find_field(*fields, "phone_number")->reveal(), "+15005550006");
}

TEST(TwilioEnvironment, ReadsAnApiKeyAndAMessagingService) {
  const auto fields = read({{"TWILIO_ACCOUNT_SID", "AC00000000000000000000000000000001"},
                            {"TWILIO_API_KEY", "SK00000000000000000000000000000001"},
                            {"TWILIO_API_SECRET", "0000000000000000000000000000000b"},
                            {"TWILIO_MESSAGING_SERVICE_SID", "MG00000000000000000000000000000001"}});
  ASSERT_TRUE(fields.ok());
  EXPECT_NE(find_field(*fields, "api_key_secret"), nullptr);
  EXPECT_NE(find_field(*fields, "messaging_service_sid"), nullptr);
}

TEST(TwilioEnvironment, NamesWhatIsMissing) {
  for (const char* name : {"TWILIO_ACCOUNT_SID", "TWILIO_AUTH_TOKEN", "TWILIO_PHONE_NUMBER"}) {
    const auto fields = read(with(complete, name, ""));
    ASSERT_FALSE(fields.ok()) << name;
    EXPECT_EQ(fields.error().code, "environment_missing");
    EXPECT_EQ(fields.error().cause, std::string(name) + " is not set.");
  }
  EXPECT_EQ(read(with(complete, "TWILIO_API_KEY", "SK00000000000000000000000000000001")).error().cause,
            "TWILIO_API_SECRET is not set.");
}

TEST(TwilioEnvironment, NamesWhatIsMalformedWithoutQuotingIt) {
  for (const auto& [name, value] : {std::pair("TWILIO_ACCOUNT_SID", "ACxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"),
                                    std::pair("TWILIO_ACCOUNT_SID", "SK00000000000000000000000000000001"),
                                    std::pair("TWILIO_AUTH_TOKEN", "your_auth_token"),
                                    std::pair("TWILIO_AUTH_TOKEN", "0000000000000000000000000000000a\r")}) {
    const auto fields = read(with(complete, name, value));
    ASSERT_FALSE(fields.ok()) << value;
    EXPECT_EQ(fields.error().code, "environment_malformed");
    EXPECT_NE(fields.error().cause.find(name), std::string::npos);
    EXPECT_EQ(fields.error().text().find(value), std::string::npos);
  }
}

}  // namespace
}  // namespace byocd
