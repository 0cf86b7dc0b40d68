#include "config.h"

#include <CLI/CLI.hpp>
#include <charconv>
#include <fstream>
#include <sstream>

#include "file.h"
#include "providers/twilio_environment.h"

namespace byocd {

namespace {

using std::chrono::milliseconds;

// Applies a value; answers what is allowed when it cannot be used.
using Apply = std::function<std::optional<std::string>(Config&, std::string_view)>;

struct Setting {
  SettingInfo info;
  Apply apply;
  bool secret = false;  // the value is not repeated in an error
};

std::optional<int> to_int(std::string_view text) {
  int value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

// `250ms`, `30s`, `5min` or a bare number of seconds.
std::optional<milliseconds> to_duration(std::string_view text) {
  const std::size_t digits = text.find_first_not_of("0123456789");
  const auto number = to_int(text.substr(0, digits));
  if (!number) return std::nullopt;
  const std::string_view unit = digits == text.npos ? "s" : text.substr(digits);
  if (unit == "ms") return milliseconds(*number);
  if (unit == "s") return milliseconds(*number * std::int64_t{1000});
  if (unit == "min") return milliseconds(*number * std::int64_t{60'000});
  return std::nullopt;
}

Apply whole_number(int Config::*field, int least, int most) {
  return [=](Config& config, std::string_view text) -> std::optional<std::string> {
    const auto value = to_int(text);
    if (!value || *value < least || *value > most) return fmt::format("a whole number from {} to {}", least, most);
    config.*field = *value;
    return std::nullopt;
  };
}

Apply duration(milliseconds Config::*field, milliseconds least, milliseconds most) {
  return [=](Config& config, std::string_view text) -> std::optional<std::string> {
    const auto value = to_duration(text);
    if (!value || *value < least || *value > most)
      return fmt::format("a time such as 500ms, 10s or 5min, from {}ms to {}s", least.count(), most.count() / 1000);
    config.*field = *value;
    return std::nullopt;
  };
}

Apply yes_or_no(bool Config::*field) {
  return [=](Config& config, std::string_view text) -> std::optional<std::string> {
    if (text != "yes" && text != "no") return "yes or no";
    config.*field = text == "yes";
    return std::nullopt;
  };
}

Apply words(std::string Config::*field) {
  return [=](Config& config, std::string_view text) -> std::optional<std::string> {
    config.*field = text;
    return std::nullopt;
  };
}

Apply base_url(std::string Config::*field) {
  return [=](Config& config, std::string_view text) -> std::optional<std::string> {
    const bool web = text.rfind("https://", 0) == 0 || text.rfind("http://", 0) == 0;
    if (!web || text.find_first_of(" ?#@") != text.npos)
      return "an http:// or https:// address without user name, query and fragment";
    while (text.back() == '/') text.remove_suffix(1);
    config.*field = text;
    return std::nullopt;
  };
}

std::optional<std::string> apply_listen(Config& config, std::string_view text) {
  const std::string expected = "HOST:PORT, such as 127.0.0.1:8080 or [::1]:8080";
  const std::size_t colon = text.rfind(':');
  if (colon == text.npos) return expected;
  const auto port = to_int(text.substr(colon + 1));
  std::string_view host = text.substr(0, colon);
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);
  if (!port || *port < 0 || *port > 65535 || host.empty()) return expected;
  config.http_host = host;
  config.http_port = *port;
  return std::nullopt;
}

// A role's name, to be quoted by nobody: what PostgreSQL's own tools can make.
std::optional<std::string> apply_tenant_role(Config& config, std::string_view text) {
  if (text == "none" || text.size() > 63) return "the name of a role, of at most 63 bytes";
  config.tenant_role = text;
  return std::nullopt;
}

// Values with commas between them. `add` puts one away, or says no.
std::optional<std::string> each_of(std::string_view text, const char* expected,
                                   const std::function<bool(std::string_view)>& add) {
  while (!text.empty()) {
    const std::size_t end = std::min(text.find(','), text.size());
    if (!add(text.substr(0, end))) return expected;
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return std::nullopt;
}

Apply origins(std::vector<std::string> Config::*field) {
  return [=](Config& config, std::string_view text) {
    (config.*field).clear();
    return each_of(
        text, "origins such as https://app.example.org, with commas between them", [&](std::string_view origin) {
          const std::size_t host = origin.starts_with("https://") ? 8 : origin.starts_with("http://") ? 7 : origin.npos;
          if (host >= origin.size() || origin.find_first_of(" /?#@*;'\"", host) != origin.npos) return false;
          (config.*field).emplace_back(origin);
          return true;
        });
  };
}

Apply networks(std::vector<Network> Config::*field) {
  return [=](Config& config, std::string_view text) {
    (config.*field).clear();
    return each_of(text, "networks such as 10.1.0.0/16 or fd00::/8, with commas between them",
                   [&](std::string_view network) {
                     const auto parsed = Network::parse(network);
                     if (parsed) (config.*field).push_back(*parsed);
                     return parsed.has_value();
                   });
  };
}

std::optional<std::string> apply_log_level(Config& config, std::string_view text) {
  static const std::map<std::string_view, log::Level> levels{{"debug", log::Level::debug},
                                                             {"info", log::Level::info},
                                                             {"warn", log::Level::warn},
                                                             {"error", log::Level::error}};
  const auto found = levels.find(text);
  if (found == levels.end()) return "debug, info, warn or error";
  config.log_level = found->second;
  return std::nullopt;
}

std::optional<std::string> apply_log_format(Config& config, std::string_view text) {
  if (text != "text" && text != "json") return "text or json";
  config.log_format = text == "json" ? log::Format::json : log::Format::text;
  return std::nullopt;
}

const std::vector<Setting>& settings() {
  using namespace std::chrono_literals;
  static const std::vector<Setting> all{
      {{"database-url", "BYOC_DATABASE_URL",
        "libpq connection string or URI, without a password (default: DATABASE_URL, else PGHOST, PGDATABASE, ...)"},
       words(&Config::database_url),
       true},
      {{"pooled-database-url", "BYOC_POOLED_DATABASE_URL",
        "the same database through a pooler such as PgBouncer in transaction mode, for all but listening and claiming "
        "(default: database-url)"},
       words(&Config::pooled_database_url),
       true},
      {{"twilio-base-url", "BYOC_TWILIO_BASE_URL", "where Twilio's REST API is (default https://api.twilio.com)"},
       base_url(&Config::twilio_base_url)},
      {{"google-oauth-url", "BYOC_GOOGLE_OAUTH_URL",
        "where Google's OAuth endpoints are, all on one host (default: Google's own hosts)"},
       base_url(&Config::google_oauth_url)},
      {{"google-api-url", "BYOC_GOOGLE_API_URL", "where Google's APIs are (default https://www.googleapis.com)"},
       base_url(&Config::google_api_url)},
      {{"google-client-id", "BYOC_GOOGLE_CLIENT_ID",
        "OAuth client that organizations without their own connect Google Calendar by"},
       words(&Config::google_client_id)},
      {{"google-client-secret-file", "BYOC_GOOGLE_CLIENT_SECRET_FILE",
        "file with that client's secret (otherwise: the environment's BYOC_GOOGLE_CLIENT_SECRET)"},
       words(&Config::google_client_secret_file)},
      {{"stripe-base-url", "BYOC_STRIPE_BASE_URL", "where Stripe's API is (default https://api.stripe.com)"},
       base_url(&Config::stripe_base_url)},
      {{"max-in-flight", "BYOC_MAX_IN_FLIGHT", "requests to providers at the same time (default 96)", false, true},
       whole_number(&Config::max_in_flight, 1, 10'000)},
      {{"max-in-flight-per-account", "BYOC_MAX_IN_FLIGHT_PER_ACCOUNT",
        "of these, with one account of an organization (default: two thirds)", false, true},
       whole_number(&Config::max_in_flight_per_account, 1, 10'000)},
      {{"lease", "BYOC_LEASE", "how long a claimed job stays ours without a heartbeat (default 30s)"},
       duration(&Config::lease, 3s, 3600s)},
      {{"poll-interval", "BYOC_POLL_INTERVAL", "how often to look for work without a notification (default 1s)"},
       duration(&Config::poll_interval, 10ms, 3600s)},
      {{"request-timeout", "BYOC_REQUEST_TIMEOUT", "longest time for one request to a provider (default 10s)"},
       duration(&Config::request_timeout, 100ms, 600s)},
      {{"drain-timeout", "BYOC_DRAIN_TIMEOUT", "longest wait for requests in flight after SIGTERM (default 15s)", false,
        true},
       duration(&Config::drain_timeout, 0ms, 3600s)},
      {{"log-level", "BYOC_LOG_LEVEL", "debug, info, warn or error (default info)", false, true}, apply_log_level},
      {{"log-format", "BYOC_LOG_FORMAT", "text or json (default text)", false, true}, apply_log_format},
      {{"http-listen", "BYOC_HTTP_LISTEN", "address of the HTTP server (default 127.0.0.1:8080)"}, apply_listen},
      {{"public-url", "BYOC_PUBLIC_URL",
        "address by which the internet reaches the HTTP server; Twilio is then told to call back there"},
       base_url(&Config::public_url)},
      {{"tenant-role", "BYOC_TENANT_ROLE",
        "role that the REST API's requests run as: one with byoc.grant_tenant() that the login may become (default: no "
        "REST API)"},
       apply_tenant_role},
      {{"api-connections", "BYOC_API_CONNECTIONS",
        "database connections for the REST API (default 2): requests beyond them wait"},
       whole_number(&Config::api_connections, 1, 100)},
      {{"api-rate", "BYOC_API_RATE", "requests a second that one token may make (default 1000)", false, true},
       whole_number(&Config::api_rate, 1, 1'000'000)},
      {{"allowed-origins", "BYOC_ALLOWED_ORIGINS",
        "origins, with commas between them, whose pages may call the API and hand over sessions (default: none)"},
       origins(&Config::allowed_origins)},
      {{"frame-ancestors", "BYOC_FRAME_ANCESTORS",
        "origins, with commas between them, whose pages may show the dashboard in a frame (default: none)"},
       origins(&Config::frame_ancestors)},
      {{"allowed-webhook-networks", "BYOC_ALLOWED_WEBHOOK_NETWORKS",
        "networks, with commas between them, that tenants' webhooks may lead into besides public addresses, by http:// "
        "too (default: none)"},
       networks(&Config::allowed_webhook_networks)},
      {{"accept-unsigned-receipts", "BYOC_ACCEPT_UNSIGNED_RECEIPTS",
        "yes: believe a status callback by its token alone when the credential is an API key (default no: ask "
        "instead)",
        true},
       yes_or_no(&Config::accept_unsigned_receipts)},
      {{"metrics-organizations", "BYOC_METRICS_ORGANIZATIONS",
        "yes: /metrics shows figures of single organizations, by their ids (default no)", true},
       yes_or_no(&Config::metrics_organizations)},
      {{"allow-env-fallback", "BYOC_ALLOW_ENV_FALLBACK",
        "yes: send with TWILIO_ACCOUNT_SID, TWILIO_AUTH_TOKEN and TWILIO_PHONE_NUMBER for organizations that never had "
        "a credential of their own (default no)",
        true},
       yes_or_no(&Config::allow_env_fallback)},
  };
  return all;
}

struct Found {
  std::string value;
  std::string origin;
};

std::optional<Found> find_value(const SettingInfo& info, const ConfigSources& sources) {
  if (const auto it = sources.command_line.find(info.name); it != sources.command_line.end())
    return Found{it->second, "the command line"};
  std::vector<std::string> variables{info.variable};
  if (info.name == "database-url") variables.emplace_back("DATABASE_URL");
  if (sources.environment) {
    for (const auto& variable : variables)
      // An empty variable counts as absent, as in libpq.
      if (auto value = sources.environment(variable); value && !value->empty())
        return Found{std::move(*value), "environment variable " + variable};
  }
  if (const auto it = sources.file.find(info.name); it != sources.file.end())
    return Found{it->second, "the config file"};
  return std::nullopt;
}

}  // namespace

std::vector<SettingInfo> setting_infos() {
  std::vector<SettingInfo> infos;
  for (const auto& setting : settings()) infos.push_back(setting.info);
  return infos;
}

Result<Config, ConfigError> load_config(const ConfigSources& sources) {
  Config config;
  for (const auto& setting : settings()) {
    const auto found = find_value(setting.info, sources);
    if (!found) continue;
    config.given[setting.info.name] = found->value;
    if (const auto allowed = setting.apply(config, found->value)) {
      const std::string got = setting.secret ? "" : fmt::format(" '{}'", found->value);
      return fail(ConfigError{
          fmt::format("{}{} from {} cannot be used: it must be {}", setting.info.name, got, found->origin, *allowed)});
    }
  }
  for (const auto& [name, value] : sources.file) {
    bool known = false;
    for (const auto& setting : settings()) known = known || setting.info.name == name;
    if (!known) return fail(ConfigError{fmt::format("the config file has an unknown setting '{}'", name)});
  }
  if (config.max_in_flight_per_account == 0) config.max_in_flight_per_account = (config.max_in_flight * 2 + 2) / 3;
  config.max_in_flight_per_account = std::min(config.max_in_flight_per_account, config.max_in_flight);
  // A request that may outlive its lease could be rescued, and sent again, while it is still on its way.
  if (config.lease < 2 * config.request_timeout)
    return fail(ConfigError{fmt::format("lease ({}ms) must be at least twice request-timeout ({}ms)",
                                        config.lease.count(), config.request_timeout.count())});
  return config;
}

std::vector<std::string> restart_settings(const Config& before, const Config& after) {
  std::vector<std::string> names;
  const auto value = [](const Config& config, const std::string& name) {
    const auto found = config.given.find(name);
    return found != config.given.end() ? std::optional(found->second) : std::nullopt;
  };
  for (const auto& setting : settings())
    if (!setting.info.reloads && value(before, setting.info.name) != value(after, setting.info.name))
      names.push_back(setting.info.name);
  return names;
}

Result<Done, ConfigError> load_fallback(Config& config, const Environment& environment) {
  if (!config.allow_env_fallback) return Done{};
  const auto unusable = [](const Problem& problem) {
    return fail(ConfigError{"allow-env-fallback cannot be used: " + problem.text()});
  };
  auto fields = twilio_environment(environment);
  if (!fields) return unusable(fields.error());
  if (const SecretString* number = find_field(*fields, "phone_number"))
    if (const auto problem = number_problem(number->reveal(), "TWILIO_PHONE_NUMBER")) return unusable(*problem);
  auto credential = std::make_shared<OpenedCredential>();
  credential->id = environment_credential_id;
  credential->provider = "twilio";
  credential->fields = std::move(*fields);
  config.fallback = std::move(credential);
  return Done{};
}

Result<Done, ConfigError> load_google_client(Config& config, const Environment& environment) {
  if (config.google_client_id.empty()) return Done{};
  std::string secret;
  if (config.google_client_secret_file.empty()) {
    secret = environment("BYOC_GOOGLE_CLIENT_SECRET").value_or("");
  } else {
    std::ifstream file(config.google_client_secret_file);
    if (!std::getline(file, secret)) return fail(ConfigError{with_errno("read", config.google_client_secret_file)});
  }
  while (!secret.empty() && (secret.back() == '\r' || secret.back() == ' ')) secret.pop_back();
  if (secret.empty())
    return fail(ConfigError{
        "google-client-id needs the client's secret: in google-client-secret-file, or in BYOC_GOOGLE_CLIENT_SECRET"});
  config.google_client = std::make_shared<OAuthClient>(OAuthClient{config.google_client_id, SecretString(secret)});
  OPENSSL_cleanse(secret.data(), secret.size());
  return Done{};
}

Result<std::map<std::string, std::string>, ConfigError> parse_config_file(std::string_view text) {
  std::map<std::string, std::string> values;
  try {
    std::istringstream stream{std::string(text)};
    for (const auto& item : CLI::ConfigTOML{}.from_config(stream)) {
      if (item.name == "++" || item.name == "--") continue;  // CLI11's marks for the ends of sections
      if (!item.parents.empty() || item.inputs.size() != 1)
        return fail(ConfigError{fmt::format("the config file's setting '{}' must be one plain value", item.name)});
      values[item.name] = item.inputs.front();
    }
  } catch (const CLI::Error&) {
    return fail(ConfigError{"the config file is not made of 'name = value' lines"});
  }
  return values;
}

}  // namespace byocd
