/// The provider stand-in: one thread, one event loop, everything in memory.
#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <csignal>
#include <cstdio>
#include <fstream>
#include <functional>
#include <iterator>
#include <stdexcept>

#include "account_json.h"
#include "callbacks.h"
#include "front_door.h"
#include "json_fields.h"
#include "server.h"

namespace {

using namespace simulator;

struct options {
  std::string listen = "127.0.0.1:0";
  std::string accounts_file;
  std::string port_file;
};

void load_accounts(account_store& store, const std::string& path) {
  std::ifstream file(path);
  if (!file) throw std::runtime_error("cannot read " + path);
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  for (auto& each : accounts_from_json(parse_json(text))) store.put(std::move(each));
}

/// Writes beside the file and renames, so that whoever waits for it never reads half a number.
void write_port(const std::string& path, std::uint16_t port) {
  const auto draft = path + ".new";
  std::ofstream file(draft);
  file << port << '\n';
  file.close();
  if (!file || std::rename(draft.c_str(), path.c_str()) != 0) throw std::runtime_error("cannot write " + path);
}

std::pair<std::string, std::uint16_t> host_and_port(const std::string& text) {
  const auto colon = text.rfind(':');
  int port = -1;
  if (colon != std::string::npos && CLI::detail::lexical_cast(text.substr(colon + 1), port) && port >= 0 &&
      port <= 65535) {
    return {text.substr(0, colon), static_cast<std::uint16_t>(port)};
  }
  throw std::runtime_error("--listen must be ADDRESS:PORT, not " + text);
}

event_handle stop_on(event_base* base, int signal_number) {
  event_handle handle(evsignal_new(
      base, signal_number,
      [](evutil_socket_t, short, void* loop) { event_base_loopbreak(static_cast<event_base*>(loop)); }, base));
  evsignal_add(handle.get(), nullptr);
  return handle;
}

/// It tells epoll of changes once a turn: a request begins and ends with some that cancel each other.
event_base_handle make_base() {
  const std::unique_ptr<event_config, handle_deleter<event_config_free>> config(event_config_new());
  event_config_set_flag(config.get(), EVENT_BASE_FLAG_EPOLL_USE_CHANGELIST);
  event_config_set_flag(config.get(), EVENT_BASE_FLAG_PRECISE_TIMER);
  return event_base_handle(event_base_new_with_config(config.get()));
}

void run(const options& opts) {
  std::signal(SIGPIPE, SIG_IGN);
  const auto base = make_base();
  account_store accounts;
  message_store messages;
  fault_rules faults;
  latency_settings latency;
  list_settings lists;
  delivery_settings delivery;
  statistics stats;
  if (!opts.accounts_file.empty()) load_accounts(accounts, opts.accounts_file);

  callback_client client(base.get(), stats);
  callback_schedule callbacks(base.get(), accounts, messages, delivery, client, stats);
  twilio_messages message_api(messages, delivery, lists, stats,
                              [&](const message& accepted) { callbacks.watch(accepted); });
  twilio_api twilio(accounts, message_api, stats);
  google_identity google_users;
  event_store google_events;
  google_oauth oauth(google_users);
  google_calendar_api calendar(google_users, google_events);
  stripe_api stripe;
  google_control google(google_users, google_events, calendar);
  std::function<void()> release_held;  // by the server, which is made after what it asks
  control_api control({accounts, messages, faults, latency, lists, delivery, stats, google, stripe,
                       [&] { callbacks.restart_draws(); }, [&] { release_held(); }});
  front_door door({twilio, oauth, calendar, stripe}, control, faults, latency, stats);
  server http(base.get(), stats, [&](const request& asked) { return door.handle(asked); });
  release_held = [&] { http.release_held(); };

  const auto on_term = stop_on(base.get(), SIGTERM);
  const auto on_int = stop_on(base.get(), SIGINT);
  const auto [host, wanted] = host_and_port(opts.listen);
  const auto port = http.listen(host, wanted);
  if (!opts.port_file.empty()) write_port(opts.port_file, port);
  fmt::print("listening on http://{}:{}\n", host, port);
  std::fflush(stdout);
  event_base_dispatch(base.get());
}

}  // namespace

int main(int argc, char** argv) {
  options opts;
  CLI::App app{"A stand-in for Twilio's REST API, for tests and benchmarks."};
  app.add_option("--listen", opts.listen, "ADDRESS:PORT; port 0 takes a free one below 32768")->capture_default_str();
  app.add_option("--accounts", opts.accounts_file, "JSON file with accounts, as PUT /_simulator/accounts takes them");
  app.add_option("--port-file", opts.port_file, "file that the port is written to once connections are accepted");
  CLI11_PARSE(app, argc, argv);
  try {
    run(opts);
  } catch (const std::exception& error) {
    fmt::print(stderr, "simulator: {}\n", error.what());
    return 1;
  }
  return 0;
}
