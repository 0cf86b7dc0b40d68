// Opened credentials, kept for a short while so that not every claim waits for decryption.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "../db/gateway.h"
#include "../timers.h"

namespace byocd {

/// Secrets are wiped when an entry is dropped and the last request that uses it is done: after five minutes unused, or
/// when a newer version is asked for.
class CredentialCache {
 public:
  using Credential = std::shared_ptr<const OpenedCredential>;
  /// Why there is none.
  struct Problem {
    enum class Kind {
      inactive,    // revoked or replaced in the meantime
      unreadable,  // the database cannot decrypt it; `message` says why
      no_answer,   // the database did not answer
    };
    Kind kind;
    std::string message;
  };
  using Answer = Result<Credential, Problem>;

  /// `fallback`: the environment's account, null for none. It is given without asking: the database decided, with the
  /// job that names it.
  CredentialCache(Gateway& gateway, Timers& timers, Credential fallback = nullptr);

  /// Calls back at once when `version` (or a newer one) is known, else after flush() and the database's answer.
  void get(const CredentialRef& ref, int version, std::function<void(Answer)> callback);
  /// Asks the database for all that get() found missing, in one call.
  void flush();

  std::size_t size() const { return entries_.size(); }

 private:
  struct Entry {
    Credential credential;
    Clock::time_point last_used;
  };
  struct Waiting {
    CredentialRef ref;
    int version = 0;
    bool asked = false;
    std::vector<std::function<void(Answer)>> callbacks;
  };

  void on_opened(const std::vector<std::string>& ids, Result<std::vector<OpenedCredential>, DbError> result);
  void answer(const std::string& id, const Answer& answer);
  void sweep();

  Gateway& gateway_;
  Timers& timers_;
  Credential fallback_;
  std::unique_ptr<Timer> sweep_timer_;
  std::unordered_map<std::string, Entry> entries_;
  std::unordered_map<std::string, Waiting> waiting_;
};

}  // namespace byocd
