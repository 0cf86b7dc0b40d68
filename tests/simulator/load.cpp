/// Load generator: how many POST Messages requests a second does the simulator answer?
/// One thread, epoll, N keep-alive connections, one request in flight on each: the way a well-behaved client pool loads
/// a provider. The request line and headers are built once; only the digits of `To` and the body's counter change, so
/// that this process stays cheaper than what it measures.
#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>
#include <CLI/CLI.hpp>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <chrono>
#include <cstring>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base64.h"

namespace {

using steady = std::chrono::steady_clock;

struct options {
  std::string host = "127.0.0.1";
  std::uint16_t port = 0;
  int connections = 16;
  double seconds = 5;
  std::string account_sid = "AC00000000000000000000000000000001";
  std::string auth_token = "11111111111111111111111111111111";
  std::string from = "+15550000001";
  std::string status_callback;
  bool keep_account = false;
};

/// Owns a socket descriptor.
class socket_handle {
 public:
  explicit socket_handle(int fd) : fd_(fd) {}
  socket_handle(socket_handle&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  socket_handle(const socket_handle&) = delete;
  socket_handle& operator=(const socket_handle&) = delete;
  socket_handle& operator=(socket_handle&&) = delete;
  ~socket_handle() {
    if (fd_ >= 0) ::close(fd_);
  }
  int fd() const { return fd_; }

 private:
  int fd_;
};

socket_handle connect_to(const options& opts) {
  socket_handle handle(::socket(AF_INET, SOCK_STREAM, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(opts.port);
  if (inet_pton(AF_INET, opts.host.c_str(), &address.sin_addr) != 1)
    throw std::runtime_error("--host must be an IPv4 address");
  if (::connect(handle.fd(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
    throw std::runtime_error(fmt::format("cannot connect to {}:{}: {}", opts.host, opts.port, std::strerror(errno)));
  }
  const int on = 1;
  setsockopt(handle.fd(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  return handle;
}

void send_all(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const auto sent = ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent <= 0) throw std::runtime_error("the simulator closed a connection while it was written to");
    bytes.remove_prefix(static_cast<std::size_t>(sent));
  }
}

/// The length of the first complete answer in `buffer`, or 0 when more bytes are needed. `status` receives the HTTP
/// status.
std::size_t complete_answer(std::string_view buffer, int& status) {
  const auto head_end = buffer.find("\r\n\r\n");
  if (head_end == std::string_view::npos) return 0;
  constexpr std::string_view length_name = "Content-Length: ";
  const auto at = buffer.find(length_name);
  if (at == std::string_view::npos || at > head_end) throw std::runtime_error("an answer carries no Content-Length");
  std::size_t length = 0;
  std::from_chars(buffer.data() + at + length_name.size(), buffer.data() + head_end, length);
  const auto total = head_end + 4 + length;
  if (buffer.size() < total) return 0;
  std::from_chars(buffer.data() + 9, buffer.data() + 12, status);
  return total;
}

/// Creates the account that the load is sent from, through the control API.
void create_account(const options& opts) {
  const auto body = fmt::format(
      R"({{"sid":"{}","auth_token":"{}","friendly_name":"load","numbers":[{{"phone_number":"{}","sms":true}}]}})",
      opts.account_sid, opts.auth_token, opts.from);
  const auto handle = connect_to(opts);
  send_all(handle.fd(),
           fmt::format("PUT /_simulator/accounts HTTP/1.1\r\nHost: {}:{}\r\nContent-Type: application/json\r\n"
                       "Content-Length: {}\r\n\r\n{}",
                       opts.host, opts.port, body.size(), body));
  std::string answer;
  char chunk[4096];
  int status = 0;
  while (complete_answer(answer, status) == 0) {
    const auto got = ::recv(handle.fd(), chunk, sizeof chunk, 0);
    if (got <= 0) throw std::runtime_error("no answer from the control API");
    answer.append(chunk, static_cast<std::size_t>(got));
  }
  if (status != 200 && status != 201) throw std::runtime_error("the control API refused the account: " + answer);
}

std::string percent_encoded(std::string_view text) {
  std::string out;
  for (const unsigned char c : text) {
    if (std::isalnum(c) != 0)
      out.push_back(static_cast<char>(c));
    else
      out += fmt::format("%{:02X}", c);
  }
  return out;
}

/// One keep-alive connection: the answer bytes read so far and when its request was sent.
struct connection {
  socket_handle handle;
  std::string buffer;
  steady::time_point sent_at;
};

class generator {
 public:
  explicit generator(const options& opts) : opts_(opts) {
    std::string form = fmt::format("To=%2B15551000000&From={}&Body=load+0000000000", percent_encoded(opts.from));
    to_digits_ = form.find("1000000");
    counter_ = form.size() - 10;
    if (!opts.status_callback.empty()) form += "&StatusCallback=" + percent_encoded(opts.status_callback);
    const auto head = fmt::format(
        "POST /2010-04-01/Accounts/{}/Messages.json HTTP/1.1\r\nHost: {}:{}\r\nAuthorization: Basic {}\r\n"
        "Accept: application/json\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n",
        opts.account_sid, opts.host, opts.port, simulator::base64_encode(opts.account_sid + ":" + opts.auth_token),
        form.size());
    to_digits_ += head.size();
    counter_ += head.size();
    request_ = head + form;
  }

  int run() {
    socket_handle epoll(epoll_create1(0));
    for (int i = 0; i < opts_.connections; ++i) {
      connections_.push_back({connect_to(opts_), {}, {}});
      epoll_event event{};
      event.events = EPOLLIN;
      event.data.u32 = static_cast<std::uint32_t>(i);
      epoll_ctl(epoll.fd(), EPOLL_CTL_ADD, connections_.back().handle.fd(), &event);
    }
    const auto start = steady::now();
    const auto deadline =
        start + std::chrono::duration_cast<steady::duration>(std::chrono::duration<double>(opts_.seconds));
    for (auto& each : connections_) send_next(each, start);
    std::vector<epoll_event> events(connections_.size());
    auto now = start;
    while (now < deadline) {
      const int ready = epoll_wait(epoll.fd(), events.data(), static_cast<int>(events.size()), 100);
      now = steady::now();
      for (int i = 0; i < ready; ++i) read_answer(connections_[events[static_cast<std::size_t>(i)].data.u32], now);
    }
    report(std::chrono::duration<double>(now - start).count());
    return others_ == 0 ? 0 : 1;
  }

 private:
  void send_next(connection& target, steady::time_point now) {
    const auto n = sent_++;
    // 1,000,000 recipients in turn: enough to make the simulator's index by recipient real, few enough that some
    // repeat.
    fmt::format_to(request_.data() + to_digits_, "{:07}", 1'000'000 + n % 1'000'000);
    fmt::format_to(request_.data() + counter_, "{:010}", n);
    target.sent_at = now;
    send_all(target.handle.fd(), request_);
  }

  void read_answer(connection& source, steady::time_point now) {
    char chunk[16384];
    const auto got = ::recv(source.handle.fd(), chunk, sizeof chunk, 0);
    if (got <= 0) throw std::runtime_error("the simulator closed a connection");
    source.buffer.append(chunk, static_cast<std::size_t>(got));
    int status = 0;
    const auto length = complete_answer(source.buffer, status);
    if (length == 0) return;
    source.buffer.erase(0, length);
    (status == 201 ? accepted_ : others_) += 1;
    latencies_us_.push_back(static_cast<std::uint32_t>(
        std::chrono::duration_cast<std::chrono::microseconds>(now - source.sent_at).count()));
    send_next(source, now);
  }

  void report(double elapsed) {
    std::sort(latencies_us_.begin(), latencies_us_.end());
    const auto at = [&](double share) {
      if (latencies_us_.empty()) return 0U;
      return latencies_us_[static_cast<std::size_t>(static_cast<double>(latencies_us_.size() - 1) * share)];
    };
    fmt::print(
        "{:.0f} requests/s  ({} accepted, {} other answers, {} connections, {:.2f} s, latency us p50 {} p99 {} max "
        "{})\n",
        static_cast<double>(accepted_ + others_) / elapsed, accepted_, others_, opts_.connections, elapsed, at(0.5),
        at(0.99), at(1.0));
  }

  const options& opts_;
  std::string request_;
  std::size_t to_digits_ = 0;
  std::size_t counter_ = 0;
  std::vector<connection> connections_;
  std::vector<std::uint32_t> latencies_us_;
  std::uint64_t sent_ = 0;
  std::uint64_t accepted_ = 0;
  std::uint64_t others_ = 0;
};

}  // namespace

int main(int argc, char** argv) {
  options opts;
  CLI::App app{"Measures how many POST Messages requests a second a running simulator answers."};
  app.add_option("--host", opts.host, "IPv4 address of the simulator");
  app.add_option("--port", opts.port, "port of the simulator")->required();
  app.add_option("--connections", opts.connections, "keep-alive connections, one request in flight on each")
      ->check(CLI::Range(1, 10000));
  app.add_option("--seconds", opts.seconds, "how long to send")->check(CLI::PositiveNumber);
  app.add_option("--account-sid", opts.account_sid, "account to send from");
  app.add_option("--auth-token", opts.auth_token, "its auth token");
  app.add_option("--from", opts.from, "sender number");
  app.add_option("--status-callback", opts.status_callback, "StatusCallback to ask for; none by default");
  app.add_flag("--keep-account", opts.keep_account, "do not create the account first, it exists already");
  CLI11_PARSE(app, argc, argv);
  try {
    if (!opts.keep_account) create_account(opts);
    return generator(opts).run();
  } catch (const std::exception& error) {
    fmt::print(stderr, "simulator_load: {}\n", error.what());
    return 1;
  }
}
