#include "command.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>

#include "../check/terms.h"
#include "../db/database_problem.h"
#include "../db/setup_gateway.h"
#include "../providers/twilio_environment.h"
#include "../uuid.h"
#include "env_file.h"
#include "input.h"
#include "terminal.h"

namespace byocd {

namespace {

constexpr int usage_error = 2;

int complain(const std::string& message) {
  fmt::print(stderr, "byocd setup: {}\n", message);
  return usage_error;
}

class Setup {
 public:
  Setup(SetupOptions options, const Config& config, const Environment& environment)
      : options_(std::move(options)), config_(config), environment_(environment) {}

  // Everything that can be refused is, before a secret is asked for.
  int run() {
    if (const auto ready = prepare(); !ready) return refuse(ready.error());
    auto fields = read_fields();
    if (!fields) return refuse(fields.error());
    if (const int code = check(*fields); code != 0) {
      fmt::print("\nNothing was stored.\n");
      return code;
    }
    const auto stored = options_.env_file.empty() ? store(*fields) : write(*fields);
    return stored ? 0 : refuse(stored.error());
  }

 private:
  int refuse(const Problem& problem) const {
    fmt::print(stderr, "byocd setup: {}\n", problem.text());
    return problem.unreachable ? 3 : 1;
  }

  Result<Done, Problem> prepare() {
    if (!options_.env_file.empty()) {
      if (access(options_.env_file.c_str(), F_OK) == 0 && !options_.force)
        return fail(env_file_exists(options_.env_file));
      return Done{};
    }
    auto session = Session::open(config_.database_url, "byocd setup");
    if (!session) return fail(database_problem(session.error(), "byoc.grant_admin"));
    gateway_.emplace(std::move(*session), SecretString(environment_("BYOC_TOKEN").value_or("")));
    if (!options_.create_org.empty()) return Done{};
    auto found = gateway_->find(options_.org_id);
    if (!found) return fail(std::move(found.error()));
    organization_ = std::move(*found);
    if (organization_.credential_id.empty() || options_.force) return Done{};
    const Problem exists{"credential_exists", fmt::format("{} has a Twilio credential already.", named()),
                         "With --force it is replaced, and what waits for it goes out by the new one."};
    if (!asks()) return fail(exists);
    const auto answer = ask(fmt::format("{} has a Twilio credential already. Replace it? (yes/no)", named()), false);
    if (!answer || (answer->reveal() != "yes" && answer->reveal() != "y")) return fail(exists);
    return Done{};
  }

  bool asks() const { return !options_.fields_descriptor && !options_.from_environment; }
  std::string named() const {
    return fmt::format("Organization \"{}\" ({})", printable(organization_.name), organization_.id);
  }

  Result<CredentialFields, Problem> read_fields() const {
    if (options_.fields_descriptor) return read_fields_from(*options_.fields_descriptor);
    if (options_.from_environment) return twilio_environment(environment_);
    return ask_for_fields(ask, [](const std::string& sentence) { fmt::print(stderr, "{}\n", sentence); });
  }

  int check(const CredentialFields& fields) const {
    const Twilio twilio(config_.twilio_base_url);
    HttpCaller caller(config_.request_timeout);
    Checker checker(blocking_terms(caller), twilio, fields, nullptr);
    std::vector<CheckResult> results{checker.account()};
    if (exit_code(results) == 0) results.push_back(checker.number(""));
    for (const auto& result : results) fmt::print("{}", to_text(result, wants_colors()));
    std::fflush(stdout);
    return exit_code(results);
  }

  Result<Done, Problem> store(const CredentialFields& fields) {
    const auto name = options_.create_org.empty() ? std::nullopt : std::optional(options_.create_org);
    const auto id = gateway_->store(organization_, name, fields);
    if (!id) return fail(id.error());
    fmt::print("\n{}\n   credential {}\n\nNow: byocd check --org {} --to +E164\n", named(), *id, organization_.id);
    return Done{};
  }

  Result<Done, Problem> write(const CredentialFields& fields) const {
    const auto written = write_env_file(options_.env_file, fields, options_.force);
    if (written) fmt::print("\nWritten: {} (mode 0600)\n", options_.env_file);
    return written;
  }

  SetupOptions options_;
  const Config& config_;
  const Environment& environment_;
  std::optional<SetupGateway> gateway_;
  SetupGateway::Organization organization_;
};

}  // namespace

int setup_command(SetupOptions options, const Config& config, const Environment& environment) {
  const bool has_token = !environment("BYOC_TOKEN").value_or("").empty();
  const bool is_asked = !options.fields_descriptor && !options.from_environment;
  const int places = int{!options.org_id.empty()} + int{!options.create_org.empty()} + int{!options.env_file.empty()};
  if (places > 1) return complain("--org, --create-org and --env-file exclude each other");
  if (is_asked && isatty(STDIN_FILENO) == 0)
    return complain("there is no terminal to ask at: give the fields by --fields-fd N (JSON) or --from-env");
  if (places == 0 && !has_token) {
    const char* ways = "say where to: --org UUID, --create-org NAME, or --env-file PATH";
    if (!is_asked) return complain(ways);
    const auto answer = ask("Organization: its UUID, or a name to create one", false);
    if (!answer || answer->empty()) return complain(ways);
    (is_uuid(answer->reveal()) ? options.org_id : options.create_org) = answer->reveal();
  }
  if (has_token && !options.create_org.empty())
    return complain("BYOC_TOKEN is of an organization: it cannot create one");
  if (!options.org_id.empty() && !is_uuid(options.org_id))
    return complain("--org must be a UUID, not '" + options.org_id + "'");
  return Setup(std::move(options), config, environment).run();
}

}  // namespace byocd
