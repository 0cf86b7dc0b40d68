// Settings of `byocd run`: command line, then environment, then a file, then the default.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "db/job.h"
#include "http/address_rules.h"
#include "log.h"
#include "providers/oauth.h"
#include "result.h"

namespace byocd {

/// All settings, with their defaults.
struct Config {
  /// libpq connection string or URI; empty: libpq's own variables (PGHOST, ...) and defaults.
  std::string database_url;
  /// The same database behind a pooler; empty: database_url for everything.
  std::string pooled_database_url;
  std::string twilio_base_url = "https://api.twilio.com";
  /// Where Google's OAuth endpoints are, all on one host; empty: on Google's own.
  std::string google_oauth_url;
  std::string google_api_url = "https://www.googleapis.com";
  /// For organizations that have no client of their own; with a file, or the environment, for its secret.
  std::string google_client_id;
  std::string google_client_secret_file;
  /// Both, from load_google_client(); null: none.
  std::shared_ptr<const OAuthClient> google_client;
  std::string stripe_base_url = "https://api.stripe.com";
  /// Requests to providers at the same time; claims never exceed what is free of them.
  int max_in_flight = 96;
  /// Of these, at most so many with one account, so that a slow one leaves slots to the others. 0 before load_config()
  /// makes it two thirds.
  int max_in_flight_per_account = 0;
  /// How long a claimed job stays ours without a heartbeat.
  std::chrono::milliseconds lease{30'000};
  /// How often to look for work when no NOTIFY comes.
  std::chrono::milliseconds poll_interval{1'000};
  /// Longest time for one request to a provider, connecting included.
  std::chrono::milliseconds request_timeout{10'000};
  /// Longest wait for requests in flight after SIGTERM.
  std::chrono::milliseconds drain_timeout{15'000};
  /// Networks that webhooks of tenants may lead into besides public addresses.
  std::vector<Network> allowed_webhook_networks;
  log::Level log_level = log::Level::info;
  log::Format log_format = log::Format::text;
  std::string http_host = "127.0.0.1";
  int http_port = 8080;
  /// Where the internet reaches this server; empty when it does not.
  std::string public_url;
  /// The role that the REST API's requests run as, one with byoc.grant_tenant(); empty: no REST API.
  std::string tenant_role;
  /// Connections to the database for the REST API's requests. These are short: more at once would mostly take the CPU
  /// from dispatch.
  int api_connections = 2;
  /// Requests a second with one token.
  int api_rate = 1'000;
  /// Origins of the host application (`https://app.example`): CORS, and where sessions may be handed over from.
  std::vector<std::string> allowed_origins;
  /// Origins whose pages may show ours in a frame.
  std::vector<std::string> frame_ancestors;
  /// Believe a status callback by its token alone when the credential has no auth token to check its signature with.
  bool accept_unsigned_receipts = false;
  bool allow_env_fallback = false;
  /// Whether /metrics may tell organizations apart, by their ids.
  bool metrics_organizations = false;
  /// The environment's account, from load_fallback().
  std::shared_ptr<const OpenedCredential> fallback;
  /// Values as they were found, by the settings' names.
  std::map<std::string, std::string> given;
};

/// A setting that cannot be used: one sentence that names it, where it came from and what is allowed.
struct ConfigError {
  std::string message;
};

/// One setting as users type it: `--name`, `variable` in the environment, `name = value` in the file.
struct SettingInfo {
  std::string name;
  std::string variable;
  std::string help;
  /// yes or no; on the command line the bare name means yes.
  bool is_switch = false;
  /// SIGHUP makes a new value take effect.
  bool reloads = false;
};

/// Every setting of `byocd run`, in the order of the help text.
std::vector<SettingInfo> setting_infos();

/// Looks up an environment variable.
using Environment = std::function<std::optional<std::string>(const std::string&)>;

/// Where the values come from. Maps hold only what was given, keyed by SettingInfo::name.
struct ConfigSources {
  std::map<std::string, std::string> command_line;
  Environment environment;
  std::map<std::string, std::string> file;
};

/// Puts the sources together by precedence and checks every value.
/// DATABASE_URL is understood too, after BYOC_DATABASE_URL.
Result<Config, ConfigError> load_config(const ConfigSources& sources);

/// The settings that differ and need a restart to take effect.
std::vector<std::string> restart_settings(const Config& before, const Config& after);

/// With allow_env_fallback: puts the environment's account (TWILIO_ACCOUNT_SID, ...) into the settings.
Result<Done, ConfigError> load_fallback(Config& config, const Environment& environment);

/// With google_client_id: puts that client into the settings. Its secret is a file's first line, or the environment's.
Result<Done, ConfigError> load_google_client(Config& config, const Environment& environment);

/// Reads a config file's text (`name = value` lines, `#` comments; the INI/TOML subset of CLI11).
Result<std::map<std::string, std::string>, ConfigError> parse_config_file(std::string_view text);

}  // namespace byocd
