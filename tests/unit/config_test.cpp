#include "config.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <fstream>

namespace byocd {
namespace {

using namespace std::chrono_literals;

ConfigSources sources(std::map<std::string, std::string> command_line, std::map<std::string, std::string> variables,
                      std::map<std::string, std::string> file) {
  return {std::move(command_line),
          [variables = std::move(variables)](const std::string& name) -> std::optional<std::string> {
            const auto found = variables.find(name);
            return found == variables.end() ? std::nullopt : std::optional(found->second);
          },
          std::move(file)};
}

std::string error_of(const ConfigSources& given) {
  const auto config = load_config(given);
  return config ? "" : config.error().message;
}

TEST(Config, HasDefaults) {
  const auto config = load_config(sources({}, {}, {}));
  ASSERT_TRUE(config.ok());
  EXPECT_EQ(config->max_in_flight, 96);
  EXPECT_EQ(config->max_in_flight_per_account, 64);
  EXPECT_EQ(config->lease, 30s);
  EXPECT_EQ(config->poll_interval, 1s);
  EXPECT_EQ(config->request_timeout, 10s);
  EXPECT_EQ(config->http_host, "127.0.0.1");
  EXPECT_EQ(config->http_port, 8080);
  EXPECT_EQ(config->twilio_base_url, "https://api.twilio.com");
}

TEST(Config, CommandLineBeatsEnvironmentBeatsFile) {
  const auto all =
      load_config(sources({{"max-in-flight", "1"}}, {{"BYOC_MAX_IN_FLIGHT", "2"}}, {{"max-in-flight", "3"}}));
  EXPECT_EQ(all->max_in_flight, 1);
  const auto two = load_config(sources({}, {{"BYOC_MAX_IN_FLIGHT", "2"}}, {{"max-in-flight", "3"}}));
  EXPECT_EQ(two->max_in_flight, 2);
  const auto one = load_config(sources({}, {}, {{"max-in-flight", "3"}}));
  EXPECT_EQ(one->max_in_flight, 3);
}

TEST(Config, UnderstandsDatabaseUrlAfterItsOwnVariable) {
  const auto common = load_config(sources({}, {{"DATABASE_URL", "postgresql:///a"}}, {}));
  EXPECT_EQ(common->database_url, "postgresql:///a");
  const auto own =
      load_config(sources({}, {{"DATABASE_URL", "postgresql:///a"}, {"BYOC_DATABASE_URL", "postgresql:///b"}}, {}));
  EXPECT_EQ(own->database_url, "postgresql:///b");
}

TEST(Config, ReadsDurationsWithUnits) {
  const auto config = load_config(sources(
      {{"poll-interval", "250ms"}, {"lease", "2min"}, {"request-timeout", "5"}, {"drain-timeout", "0s"}}, {}, {}));
  ASSERT_TRUE(config.ok());
  EXPECT_EQ(config->poll_interval, 250ms);
  EXPECT_EQ(config->lease, 2min);
  EXPECT_EQ(config->request_timeout, 5s);
  EXPECT_EQ(config->drain_timeout, 0s);
}

TEST(Config, ReadsAllowedOrigins) {
  const auto two = load_config(sources({{"allowed-origins", "https://app.example,http://localhost:3000"}}, {}, {}));
  ASSERT_TRUE(two.ok());
  EXPECT_EQ(two->allowed_origins, (std::vector<std::string>{"https://app.example", "http://localhost:3000"}));
  for (const char* wrong : {"app.example", "https://", "https://app.example/", "https://*.example", "*", ",", "null",
                            "https://a.example https://b.example", "https://a.example;script-src"}) {
    EXPECT_NE(error_of(sources({{"allowed-origins", wrong}}, {}, {})), "") << wrong;
    EXPECT_NE(error_of(sources({{"frame-ancestors", wrong}}, {}, {})), "") << wrong;
  }
  EXPECT_EQ(load_config(sources({{"frame-ancestors", "https://app.example"}}, {}, {}))->frame_ancestors,
            std::vector<std::string>{"https://app.example"});
  EXPECT_NE(error_of(sources({{"tenant-role", "none"}}, {}, {})), "") << "SET ROLE none is no role";
}

TEST(Config, WebhookNetworksAreCidrs) {
  const auto two = load_config(sources({{"allowed-webhook-networks", "10.0.0.0/8,::1"}}, {}, {}));
  ASSERT_TRUE(two.ok());
  EXPECT_EQ(two->allowed_webhook_networks.size(), 2u);
  for (const char* wrong : {"yes", "10.0.0.1/8", "10.0.0.0/8, ::1", "10.0.0.0/8,,::1", "localhost"})
    EXPECT_NE(error_of(sources({{"allowed-webhook-networks", wrong}}, {}, {})), "") << wrong;
  EXPECT_TRUE(load_config(sources({}, {}, {}))->allowed_webhook_networks.empty());
}

TEST(Config, ReadsListenAddresses) {
  const auto six = load_config(sources({{"http-listen", "[::1]:9000"}}, {}, {}));
  ASSERT_TRUE(six.ok());
  EXPECT_EQ(six->http_host, "::1");
  EXPECT_EQ(six->http_port, 9000);
}

TEST(Config, AnErrorNamesSettingValueSourceAndWhatIsAllowed) {
  EXPECT_EQ(
      error_of(sources({}, {{"BYOC_MAX_IN_FLIGHT", "many"}}, {})),
      "max-in-flight 'many' from environment variable BYOC_MAX_IN_FLIGHT cannot be used: it must be a whole number "
      "from 1 to 10000");
}

const std::map<std::string, std::string> account{{"TWILIO_ACCOUNT_SID", "AC000000000000000000000000000000Fa"},
                                                 {"TWILIO_AUTH_TOKEN", "0000000000000000000000000000Made"},
                                                 {"TWILIO_PHONE_NUMBER", "+14155550100"}};

// The settings with the environment's account, or the error.
Result<Config, ConfigError> with_fallback(const std::string& allowed, std::map<std::string, std::string> variables) {
  const auto given = sources({{"allow-env-fallback", allowed}}, std::move(variables), {});
  auto config = load_config(given);
  if (!config) return config;
  if (auto loaded = load_fallback(*config, given.environment); !loaded) return fail(std::move(loaded.error()));
  return config;
}

TEST(Config, TheEnvironmentsAccountIsReadOnlyWhenItMayBeUsed) {
  const auto without = with_fallback("no", {{"TWILIO_ACCOUNT_SID", "x"}});
  ASSERT_TRUE(without.ok());
  EXPECT_EQ(without->fallback, nullptr);
  const auto with = with_fallback("yes", account);
  ASSERT_TRUE(with.ok());
  EXPECT_EQ(with->fallback->id, environment_credential_id);
  EXPECT_EQ(with->fallback->fields.at("account_sid").reveal(), account.at("TWILIO_ACCOUNT_SID"));
  EXPECT_EQ(with->fallback->fields.at("auth_token").reveal(), account.at("TWILIO_AUTH_TOKEN"));
  EXPECT_EQ(with->fallback->fields.at("phone_number").reveal(), account.at("TWILIO_PHONE_NUMBER"));
}

TEST(Config, NamesTheVariableOfTheEnvironmentsAccountThatCannotBeUsed) {
  const std::vector<std::pair<std::string, std::string>> bad{
      {"TWILIO_ACCOUNT_SID", ""},
      {"TWILIO_ACCOUNT_SID", "AC0000000000000000000000000000000g"},
      {"TWILIO_AUTH_TOKEN", ""},
      {"TWILIO_AUTH_TOKEN", "0000000000000000000000000000000 "},
      {"TWILIO_PHONE_NUMBER", ""},
      {"TWILIO_PHONE_NUMBER", "14155550199"},
      {"TWILIO_PHONE_NUMBER", "+04155550199"},
  };
  for (const auto& [name, value] : bad) {
    auto variables = account;
    variables[name] = value;
    const auto config = with_fallback("yes", variables);
    ASSERT_FALSE(config.ok()) << name;
    const std::string& error = config.error().message;
    EXPECT_EQ(error.rfind("allow-env-fallback cannot be used: " + name + " is not ", 0), 0u) << error;
    EXPECT_TRUE(value.empty() || error.find(value) == std::string::npos) << error;
  }
}

TEST(Config, RefusesWhatCannotBeUsed) {
  const std::vector<std::pair<std::string, std::string>> bad{
      {"max-in-flight", "0"},
      {"max-in-flight", "64 "},
      {"max-in-flight", "99999999999"},
      {"lease", "1s"},
      {"lease", "30 hours"},
      {"poll-interval", "-1s"},
      {"http-listen", "8080"},
      {"http-listen", "localhost:http"},
      {"http-listen", ":8080"},
      {"http-listen", "a:70000"},
      {"log-level", "loud"},
      {"log-format", "xml"},
      {"twilio-base-url", "ftp://x"},
      {"public-url", "https://u@h/"},
      {"twilio-base-url", ""},
  };
  for (const auto& [name, value] : bad)
    EXPECT_NE(error_of(sources({{name, value}}, {}, {})), "") << name << "=" << value;
}

TEST(Config, RefusesALeaseThatARequestCanOutlive) {
  EXPECT_NE(error_of(sources({{"lease", "15s"}, {"request-timeout", "10s"}}, {}, {})), "");
  EXPECT_EQ(error_of(sources({{"lease", "20s"}, {"request-timeout", "10s"}}, {}, {})), "");
}

TEST(Config, CutsSlashesFromTheEndOfAddresses) {
  const auto config = load_config(sources({{"twilio-base-url", "http://127.0.0.1:9999//"}}, {}, {}));
  EXPECT_EQ(config->twilio_base_url, "http://127.0.0.1:9999");
}

TEST(Config, TellsWhatOnlyARestartChanges) {
  const auto before =
      load_config(sources({{"http-listen", "127.0.0.1:1"}}, {}, {{"log-level", "info"}, {"lease", "40s"}}));
  const auto after = load_config(sources({{"http-listen", "127.0.0.1:1"}}, {},
                                         {{"log-level", "debug"}, {"max-in-flight", "7"}, {"poll-interval", "2s"}}));
  ASSERT_TRUE(before.ok() && after.ok());
  EXPECT_EQ(restart_settings(*before, *after), (std::vector<std::string>{"lease", "poll-interval"}));
  EXPECT_TRUE(restart_settings(*before, *before).empty());
}

TEST(Config, ReadsAFile) {
  const auto file = parse_config_file("# a comment\nmax-in-flight = 12\npublic-url = \"https://sms.example.test\"\n");
  ASSERT_TRUE(file.ok());
  const auto config = load_config(sources({}, {}, *file));
  ASSERT_TRUE(config.ok());
  EXPECT_EQ(config->max_in_flight, 12);
  EXPECT_EQ(config->public_url, "https://sms.example.test");
}

TEST(Config, RefusesAnUnknownSettingInTheFile) {
  EXPECT_NE(error_of(sources({}, {}, {{"max-in-fligth", "12"}})).find("max-in-fligth"), std::string::npos);
}

TEST(Config, TakesGooglesClientWithItsSecretFromAFileOrTheEnvironment) {
  const auto load = [](std::map<std::string, std::string> variables, std::map<std::string, std::string> settings) {
    const auto given = sources(std::move(settings), std::move(variables), {});
    auto config = *load_config(given);
    const auto loaded = load_google_client(config, given.environment);
    if (!loaded) return loaded.error().message;
    return config.google_client ? config.google_client->id + " " + config.google_client->secret.reveal() : "none";
  };
  const std::string path = testing::TempDir() + "google_client_secret";
  std::ofstream(path) << "from-file\r\nmore\n";
  EXPECT_EQ(load({{"BYOC_GOOGLE_CLIENT_SECRET", "alone"}}, {}), "none");
  EXPECT_EQ(load({{"BYOC_GOOGLE_CLIENT_SECRET", "from-variable"}}, {{"google-client-id", "app"}}), "app from-variable");
  EXPECT_EQ(load({}, {{"google-client-id", "app"}, {"google-client-secret-file", path}}), "app from-file");
  EXPECT_NE(load({}, {{"google-client-id", "app"}}).find("needs the client's secret"), std::string::npos);
  EXPECT_NE(load({}, {{"google-client-id", "app"}, {"google-client-secret-file", path + "-none"}}).find("cannot read"),
            std::string::npos);
  std::remove(path.c_str());
}

}  // namespace
}  // namespace byocd
