// The routes by which a user connects an account of a provider: there and back. Who may is the database's word.
#pragma once

#include <functional>
#include <string>

#include "../db/oauth_gateway.h"
#include "../db/tenant_database.h"
#include "../http/request.h"
#include "../providers/oauth.h"
#include "oauth_trip.h"
#include "router.h"

namespace byocd {

class OAuthRoutes {
 public:
  struct Parts {
    TenantDatabase& tenants;
    OAuthGateway& gateway;
    HttpClient& http;
    /// A request's token, or the answer to one that is not let in.
    std::function<Result<SecretString, ApiAnswer>(const ApiRequest&)> admit;
  };
  struct Options {
    /// Such as `/api/auth/google`.
    std::string path;
    /// The credential's type.
    std::string provider;
    /// Where browsers reach this server; empty: nowhere, so that nobody can come back.
    std::string public_url;
  };

  OAuthRoutes(Parts parts, const OAuthProvider& oauth, Options options);

  /// `GET path/start` and `GET path/callback`.
  void add_routes(Router& router);
  /// Browsers whose way back is being dealt with.
  int pending() const { return pending_; }

 private:
  struct Return;
  using ReturnPtr = std::shared_ptr<Return>;

  void start(const ApiRequest& request, const Reply& reply);
  void send_off(const ApiRequest& request, const Reply& reply, const OAuthTrip& trip, const QueryResult& result) const;
  void call_back(const ApiRequest& request, const Reply& reply);
  void exchange(const ReturnPtr& back, const TakenState& taken);
  void store(const ReturnPtr& back, const TokenGrant& grant);
  /// Takes the browser to the settings page, which has a sentence for each `outcome`.
  void finish(const ReturnPtr& back, const std::string& outcome);
  ApiAnswer to_settings(const std::string& outcome) const;
  /// To the settings page when a browser asked, else the problem itself.
  ApiAnswer refused(const ApiRequest& request, ApiAnswer problem) const;
  std::string redirect_uri() const { return options_.public_url + options_.path + "/callback"; }

  Parts parts_;
  const OAuthProvider& oauth_;
  Options options_;
  int pending_ = 0;
};

}  // namespace byocd
