// A TCP server on a free port of a loopback address whose connections the test scripts, step by step, in a thread of
// its own.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <functional>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>

namespace byocd {

/// One accepted connection.
class Peer {
 public:
  explicit Peer(int fd) : fd_(fd) {}
  ~Peer() { close(); }
  Peer(const Peer&) = delete;
  Peer& operator=(const Peer&) = delete;

  /// Reads one request, headers and body; empty when the peer closed.
  std::string read_request() {
    std::string text;
    char buffer[4096];
    while (true) {
      const std::size_t head = text.find("\r\n\r\n");
      if (head != text.npos) {
        const std::size_t at = text.find("Content-Length: ");
        const std::size_t body = at == text.npos || at > head ? 0 : std::stoul(text.substr(at + 16));
        if (text.size() >= head + 4 + body) return text;
      }
      const ssize_t got = ::recv(fd_, buffer, sizeof buffer, 0);
      if (got <= 0) return "";
      text.append(buffer, static_cast<std::size_t>(got));
    }
  }
  /// False when the peer does not take it any more.
  bool write(const std::string& text) { return ::send(fd_, text.data(), text.size(), MSG_NOSIGNAL) >= 0; }
  void reset() {
    const linger hard{1, 0};  // closing sends RST
    ::setsockopt(fd_, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
    close();
  }
  void close() {
    const int fd = fd_.exchange(-1);
    if (fd >= 0) ::close(fd);
  }
  /// The connection is the caller's, who closes it.
  int release() { return fd_.exchange(-1); }
  /// From another thread: what this one waits for ends.
  void shut_down() { ::shutdown(fd_, SHUT_RDWR); }
  /// Until the other side closes.
  void wait_for_close() {
    char byte;
    while (::recv(fd_, &byte, 1, 0) > 0) {
    }
  }

 private:
  std::atomic<int> fd_;
};

class TinyServer {
 public:
  /// `script` serves each connection, one after the other.
  explicit TinyServer(std::function<void(Peer&)> script, const char* host = "127.0.0.1")
      : script_(std::move(script)), host_(host) {
    listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    ::inet_pton(AF_INET, host, &address.sin_addr);
    socklen_t length = sizeof address;
    if (::bind(listener_, reinterpret_cast<sockaddr*>(&address), length) != 0 || ::listen(listener_, SOMAXCONN) != 0 ||
        ::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &length) != 0)
      throw std::runtime_error("cannot listen");
    port_ = ntohs(address.sin_port);
    thread_ = std::thread([this] {
      while (true) {
        const int fd = ::accept(listener_, nullptr, nullptr);
        if (fd < 0) return;
        ++connections_;
        Peer peer(fd);
        {
          const std::lock_guard lock(mutex_);
          if (stopping_) return;
          peer_ = &peer;
        }
        script_(peer);
        const std::lock_guard lock(mutex_);
        peer_ = nullptr;
      }
    });
  }
  ~TinyServer() {
    {
      // A client may keep its connection: end it, so that the script sees its end.
      const std::lock_guard lock(mutex_);
      stopping_ = true;
      if (peer_ != nullptr) peer_->shut_down();
    }
    ::shutdown(listener_, SHUT_RDWR);
    thread_.join();
    ::close(listener_);
  }
  TinyServer(const TinyServer&) = delete;
  TinyServer& operator=(const TinyServer&) = delete;

  std::string url() const { return "http://" + host_ + ":" + std::to_string(port_) + "/x"; }
  int connections() const { return connections_; }

 private:
  std::function<void(Peer&)> script_;
  std::string host_;
  int listener_ = -1;
  int port_ = 0;
  std::atomic<int> connections_{0};
  std::mutex mutex_;
  Peer* peer_ = nullptr;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace byocd
