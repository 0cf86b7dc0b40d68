// byocd: the sidecar daemon of pg_byoc. Reads what the user wants and hands over to the part that does it.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <sstream>

#include "check/command.h"
#include "config.h"
#include "daemon.h"
#include "db/conninfo.h"
#include "key_rotation.h"
#include "keyring_command.h"
#include "log.h"
#include "process.h"
#include "setup/command.h"
#include "top/command.h"
#include "uuid.h"
#include "version.h"

namespace {

using byocd::Config;
using byocd::ConfigError;
using byocd::ConfigSources;

constexpr int usage_error = 2;

int complain(const std::string& message) {
  fmt::print(stderr, "byocd: {}\n", message);
  return usage_error;
}

std::optional<std::string> environment(const std::string& name) {
  const char* value = std::getenv(name.c_str());
  return value != nullptr ? std::optional<std::string>(value) : std::nullopt;
}

byocd::Result<Config, ConfigError> read_config(std::map<std::string, std::string> command_line,
                                               const std::string& config_file) {
  ConfigSources sources;
  sources.command_line = std::move(command_line);
  sources.environment = environment;
  if (!config_file.empty()) {
    std::ifstream stream(config_file);
    if (!stream) return byocd::fail(ConfigError{"cannot open the config file " + config_file});
    std::stringstream text;
    text << stream.rdbuf();
    auto file = byocd::parse_config_file(text.str());
    if (!file) return byocd::fail(std::move(file.error()));
    sources.file = std::move(*file);
  }
  for (const char* name : {"database-url", "pooled-database-url"}) {
    const auto given = sources.command_line.find(name);
    if (given == sources.command_line.end()) continue;
    const auto has_password = byocd::conninfo_has_password(given->second);
    if (has_password && *has_password)
      return byocd::fail(ConfigError{std::string(name) +
                                     " on the command line must not hold a password, which every user of this machine "
                                     "could read: use its variable or PGPASSWORD, or a password file"});
  }
  auto config = byocd::load_config(sources);
  if (!config) return config;
  for (const auto& [name, url] : {std::pair("database-url", &config->database_url),
                                  std::pair("pooled-database-url", &config->pooled_database_url)}) {
    const auto parsed = byocd::conninfo_has_password(*url);
    if (!parsed) return byocd::fail(ConfigError{std::string(name) + " cannot be used: " + parsed.error()});
  }
  return config;
}

int run(const std::map<std::string, std::string>& command_line, const std::string& config_file) {
  const auto read = [&] { return read_config(command_line, config_file); };
  auto config = read();
  if (!config) return complain(config.error().message);
  if (const auto loaded = byocd::load_fallback(*config, environment); !loaded) return complain(loaded.error().message);
  if (const auto loaded = byocd::load_google_client(*config, environment); !loaded)
    return complain(loaded.error().message);
  byocd::raise_file_limit();
  byocd::log::configure(config->log_level, config->log_format);
  return byocd::run_daemon(*config, read);
}

}  // namespace

int main(int argc, char** argv) try {
  byocd::harden_process();

  CLI::App app{"byocd: sends what pg_byoc queues, with each organization's own account", "byocd"};
  app.require_subcommand(1);

  std::map<std::string, std::string> given;
  std::string config_file = environment("BYOC_CONFIG").value_or("");
  // Settings of `byocd run` that a command has too; an empty list: all.
  const auto add_settings = [&](CLI::App* command, const std::vector<std::string>& names) {
    command->add_option("--config", config_file, "file with 'name = value' lines (default: BYOC_CONFIG)");
    for (const auto& setting : byocd::setting_infos())
      if (names.empty() || std::find(names.begin(), names.end(), setting.name) != names.end()) {
        auto* option = command->add_option_function<std::string>(
            "--" + setting.name, [&given, name = setting.name](const std::string& value) { given[name] = value; },
            setting.help + " [" + setting.variable + "]");
        if (setting.is_switch) option->expected(0, 1)->default_str("yes");
      }
  };
  add_settings(app.add_subcommand("run", "run the daemon"), {});

  std::string keyring_file;
  auto* keyring_command =
      app.add_subcommand("keyring", "make and extend the file with the master keys; put new ones to use");
  keyring_command->require_subcommand(1);
  const auto keyring_subcommand = [&](const char* name, const char* help) {
    auto* command = keyring_command->add_subcommand(name, help);
    command->add_option("--file", keyring_file, "path of the key ring")->required();
    return command;
  };
  auto* generate = keyring_subcommand("generate", "make a ring with one new key; never overwrites");
  auto* add = keyring_subcommand("add", "add a new active key and retire the old one");
  auto* list = keyring_subcommand("list", "show ids, states and dates, never keys");
  std::string org_id;
  const auto rotation_subcommand = [&](const char* name, const char* help) {
    auto* command = keyring_command->add_subcommand(name, help);
    command->add_option_function<std::string>(
        "--database-url", [&given](const std::string& value) { given["database-url"] = value; },
        "libpq connection string or URI, without a password (default: DATABASE_URL, else PGHOST, PGDATABASE, ...)");
    return command;
  };
  auto* rewrap =
      rotation_subcommand("rewrap", "wrap every data key by the active master key; can be interrupted and resumed");
  auto* reencrypt = rotation_subcommand(
      "reencrypt", "encrypt credentials by their organizations' active keys; can be interrupted and resumed");
  reencrypt->add_option("--org", org_id, "only this organization (UUID)");

  byocd::CheckOptions check_options;
  auto* check = app.add_subcommand("check", "check a Twilio account: status, number, a test SMS, a hot lead's SMS");
  auto* check_org =
      check->add_option("--org", check_options.org_id, "the organization (UUID) whose stored credential is checked");
  check
      ->add_flag("--env", check_options.environment,
                 "check the credential of TWILIO_ACCOUNT_SID, TWILIO_AUTH_TOKEN, TWILIO_PHONE_NUMBER")
      ->excludes(check_org);
  check->add_option("--to", check_options.recipient,
                    "recipient of the test messages (default: the organization's setting alert_phone)");
  check
      ->add_option("--only", check_options.only,
                   "of account,number,test_sms,hot_lead_sms; account,number sends no message")
      ->delimiter(',');
  check->add_flag("--json", check_options.json, "print one JSON document");
  check->add_option("--wait", check_options.patience_seconds, "follow each message for so many seconds (default 30)")
      ->check(CLI::Range(1, 600));
  add_settings(check, {"database-url", "twilio-base-url", "request-timeout"});

  byocd::SetupOptions setup_options;
  auto* setup = app.add_subcommand("setup", "ask for a Twilio credential, check it with Twilio, and store it");
  setup->add_option("--org", setup_options.org_id, "store it for this organization (UUID)");
  setup->add_option("--create-org", setup_options.create_org, "create an organization of this name for it");
  setup->add_option("--env-file", setup_options.env_file, "write it to this file as TWILIO_ variables instead");
  setup->add_flag("--force", setup_options.force,
                  "replace the organization's credential, or the file's variables (all other lines stay)");
  auto* setup_fd = setup->add_option("--fields-fd", setup_options.fields_descriptor,
                                     "read the fields as a JSON object from this file descriptor, without asking");
  setup
      ->add_flag("--from-env", setup_options.from_environment,
                 "take the fields from TWILIO_ACCOUNT_SID, TWILIO_AUTH_TOKEN, TWILIO_PHONE_NUMBER, without asking")
      ->excludes(setup_fd);
  add_settings(setup, {"database-url", "twilio-base-url", "request-timeout"});

  byocd::TopOptions top_options;
  auto* top = app.add_subcommand("top", "show the queue, live; q ends");
  top->add_flag("--once", top_options.once, "print it once");
  top->add_option("--interval", top_options.interval_seconds, "seconds between two looks (default 1)")
      ->check(CLI::Range(0.1, 3600.0));
  add_settings(top, {"database-url"});
  auto* version = app.add_subcommand("version", "print the version");

  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : usage_error;
  }

  if (version->parsed()) {
    fmt::print("byocd {}\n", byocd::version);
    return 0;
  }
  if (generate->parsed()) return byocd::keyring_generate(keyring_file);
  if (add->parsed()) return byocd::keyring_add(keyring_file);
  if (list->parsed()) return byocd::keyring_list(keyring_file);
  if (rewrap->parsed() || reencrypt->parsed()) {
    if (!org_id.empty() && !byocd::is_uuid(org_id)) return complain("--org must be a UUID, not '" + org_id + "'");
    const auto config = read_config(std::move(given), config_file);
    if (!config) return complain(config.error().message);
    if (rewrap->parsed()) return byocd::keyring_rewrap(config->database_url);
    return byocd::keyring_reencrypt(config->database_url, org_id.empty() ? std::nullopt : std::optional(org_id));
  }
  if (check->parsed()) {
    const auto config = read_config(std::move(given), config_file);
    if (!config) return complain(config.error().message);
    return byocd::check_command(check_options, *config, environment);
  }
  if (setup->parsed()) {
    const auto config = read_config(std::move(given), config_file);
    if (!config) return complain(config.error().message);
    return byocd::setup_command(std::move(setup_options), *config, environment);
  }
  if (top->parsed()) {
    const auto config = read_config(std::move(given), config_file);
    if (!config) return complain(config.error().message);
    return byocd::top_command(top_options, *config);
  }
  return run(given, config_file);
} catch (const std::exception& error) {
  fmt::print(stderr, "byocd: {}\n", error.what());
  return 1;
}
