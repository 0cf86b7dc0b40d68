#include "key_rotation.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <thread>

#include "progress.h"

namespace byocd {

namespace {

using namespace std::chrono_literals;

constexpr int failed = 1;
constexpr int unreachable = 3;
constexpr auto busy_wait = 200ms;

volatile std::sig_atomic_t stop_asked = 0;

void ask_to_stop(int) {
  stop_asked = 1;
}

int refuse(const DbError& error, const RotationTerms& terms) {
  std::string text = error.text();
  if (error.sqlstate == "42501") text += "; grant this role its part with byoc.grant_admin(role)";
  if (error.sqlstate == "3F000" || error.sqlstate == "42883")
    text += "; is pg_byoc installed in this database (CREATE EXTENSION pg_byoc)?";
  terms.report(text);
  return error.connection_lost ? unreachable : failed;
}

// Calls `batch`, which answers how many remain, until none do. `before`: how many there were.
int drive(std::int64_t before, const std::function<Result<std::int64_t, DbError>()>& batch,
          const std::function<void(std::int64_t)>& on_remaining, const RotationTerms& terms) {
  for (std::int64_t last = before;;) {
    if (terms.interrupted()) {
      terms.report("interrupted: run the same command again to go on");
      return failed;
    }
    const auto remaining = batch();
    if (!remaining) return refuse(remaining.error(), terms);
    on_remaining(*remaining);
    if (*remaining == 0) return 0;
    if (*remaining >= last) terms.wait();
    last = *remaining;
  }
}

int run_command(const std::string& conninfo, const std::function<int(KeyGateway&, const RotationTerms&)>& run) {
  RotationTerms terms;
  terms.interrupted = [] { return stop_asked != 0; };
  terms.wait = [] { std::this_thread::sleep_for(busy_wait); };
  terms.terminal = isatty(STDOUT_FILENO) != 0;
  terms.write = [](const std::string& text) {
    fmt::print("{}", text);
    std::fflush(stdout);
  };
  terms.report = [](const std::string& text) { fmt::print(stderr, "byocd keyring: {}\n", text); };
  // The first Ctrl-C lets the batch end, the second does not wait: the server then rolls the batch back.
  struct sigaction action {};
  action.sa_handler = ask_to_stop;
  action.sa_flags = SA_RESTART | static_cast<int>(SA_RESETHAND);
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);

  auto session = Session::open(conninfo, "byocd keyring");
  if (!session) return refuse(session.error(), terms);
  PgKeyGateway gateway(std::move(*session));
  return run(gateway, terms);
}

}  // namespace

int rewrap_all(KeyGateway& gateway, const RotationTerms& terms) {
  const auto total = gateway.keys_to_rewrap();
  if (!total) return refuse(total.error(), terms);
  Progress progress("data keys re-wrapped", *total, terms.terminal, terms.write);
  progress.update(0);
  RotationTerms with_bar = terms;
  with_bar.report = [&](const std::string& text) {
    progress.finish();
    terms.report(text);
  };
  std::int64_t all = *total;
  const int code = drive(
      *total, [&] { return gateway.rewrap(); },
      [&](std::int64_t remaining) {
        all = std::max(all, remaining);
        progress.update(all - remaining);
      },
      with_bar);
  progress.finish();
  return code;
}

int reencrypt_all(KeyGateway& gateway, const std::optional<std::string>& org_id, const RotationTerms& terms) {
  const auto organizations = gateway.organizations_to_reencrypt(org_id);
  if (!organizations) return refuse(organizations.error(), terms);
  std::int64_t total = 0;
  for (const auto& organization : *organizations) total += organization.credentials;
  Progress progress("credentials re-encrypted", total, terms.terminal, terms.write);
  progress.update(0);
  RotationTerms with_bar = terms;
  with_bar.report = [&](const std::string& text) {
    progress.finish();
    terms.report(text);
  };
  std::int64_t done = 0;
  for (const auto& organization : *organizations) {
    const std::int64_t before = organization.credentials;
    const int code = drive(
        before, [&] { return gateway.reencrypt(organization.id); },
        [&](std::int64_t remaining) { progress.update(done + std::max<std::int64_t>(0, before - remaining)); },
        with_bar);
    if (code != 0) return code;
    done += before;
  }
  progress.finish();
  return 0;
}

int keyring_rewrap(const std::string& conninfo) {
  return run_command(conninfo, rewrap_all);
}

int keyring_reencrypt(const std::string& conninfo, const std::optional<std::string>& org_id) {
  return run_command(
      conninfo, [&](KeyGateway& gateway, const RotationTerms& terms) { return reencrypt_all(gateway, org_id, terms); });
}

}  // namespace byocd
