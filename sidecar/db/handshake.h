// What a new session must pass before it is used: settings, the version of the contract, registration.
#pragma once

#include <functional>
#include <string>

#include "../timers.h"
#include "connection.h"
#include "job.h"

namespace byocd {

/// Takes one connection through its handshake, each time a session starts.
class Handshake {
 public:
  struct Options {
    /// Registers a dispatcher and listens for jobs too.
    bool dispatcher = false;
    /// Gives a dispatcher's identity for the new session.
    std::function<std::string()> new_identity = {};
    /// How long to wait before asking again whether a copied database was adopted.
    std::chrono::milliseconds retry_interval{1000};
    /// The environment's account, which the session announces; null: none.
    std::shared_ptr<const OpenedCredential> fallback = nullptr;
    /// Acts as this role for all that follows, with settings for tenants' requests. Empty: as the login.
    std::string tenant_role = {};
  };

  Handshake(Connection& connection, Timers& timers, std::string label, Options options);

  /// Call when the session is up; ends in Connection::accept or refuse.
  void run();
  /// Call when the session was lost.
  void reset();

  /// How far the last session came.
  enum class Progress { unreachable, reached, version_matches };
  Progress progress() const { return progress_; }

 private:
  void configure();
  void watch();
  void check_version();
  void announce_fallback();
  void go_on();
  std::string advice(const DbError& error) const;
  void listen();
  void register_dispatcher();
  void give_up(const DbError& error);
  void report(const std::string& message);

  Connection& connection_;
  std::string label_;
  Options options_;
  std::unique_ptr<Timer> retry_timer_;
  std::string identity_;
  std::string last_report_;
  Progress progress_ = Progress::unreachable;
};

}  // namespace byocd
