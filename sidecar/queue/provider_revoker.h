// Takes access away at providers that users granted by OAuth, once their credentials are revoked here.
#pragma once

#include <chrono>
#include <memory>

#include "../db/oauth_gateway.h"
#include "../http/request.h"
#include "../providers/registry.h"
#include "../timers.h"

namespace byocd {

class ProviderRevoker {
 public:
  struct Parts {
    OAuthGateway& gateway;
    const Registry& registry;
    HttpClient& http;
    Timers& timers;
  };

  ProviderRevoker(Parts parts, std::chrono::milliseconds poll_interval);

  /// There may be something to do: a NOTIFY, or the connection became ready. Looks soon, not for every NOTIFY.
  void wake();
  void stop();
  /// Whether nothing is on its way.
  bool settled() const { return running_ == 0 && !claiming_; }

 private:
  void claim();
  void revoke(Revocation revocation);
  void record(const std::string& org_id, const std::string& id, bool revoked);

  Parts parts_;
  std::chrono::milliseconds poll_interval_;
  std::unique_ptr<Timer> timer_;
  Clock::time_point next_look_;
  bool stopped_ = false;
  bool claiming_ = false;
  int running_ = 0;
};

}  // namespace byocd
