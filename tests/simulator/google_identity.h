/// Who has what at Google: clients, users with their calendars, and the grants, codes and tokens between them.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "dates.h"

namespace simulator {

/// An OAuth client of type "web application".
struct google_client {
  std::string id;
  std::string secret;
  std::vector<std::string> redirect_uris;
};

/// A calendar as one user sees it. `role`: owner, writer, reader or freeBusyReader.
struct google_calendar {
  std::string id;
  std::string summary;
  std::string time_zone;
  std::string role;
};

/// An account. Its first calendar is the primary one, whose id is the address.
struct google_user {
  std::string email;
  std::vector<google_calendar> calendars;

  /// `primary` or an id; nullptr when this user does not see such a calendar.
  const google_calendar* find_calendar(std::string_view id) const;
};

/// What a user allowed a client to do. Revoking any of its tokens ends it, and with it all of them, as at Google.
struct google_grant {
  std::string email;
  std::string client_id;
  std::set<std::string> scopes;
  std::uint64_t refreshes = 0;  // access tokens that a refresh token was exchanged for
};

/// Why a grant is refused: the fields of the error answer.
struct grant_problem {
  int status;
  std::string error;
  std::string description;
};

struct google_tokens {
  std::string access_token;
  std::string refresh_token;  // empty: none
  std::string scope;
  int expires_in;
  std::string id_token{};  // empty: none
};

/// What the authorization request said, for the exchange of its code.
struct consent {
  std::string client_id;
  std::string email;
  std::set<std::string> scopes;
  std::string redirect_uri;
  std::string challenge;         // empty: no PKCE
  std::string challenge_method;  // S256 or plain
  bool offline = false;          // access_type
  bool forced = false;           // prompt=consent: a refresh token although there was a grant
};

/// Whom an access token stands for.
struct google_access {
  const google_user* user;
  std::set<std::string> scopes;
};

class google_identity {
 public:
  void put_client(google_client value) { clients_[value.id] = std::move(value); }
  void put_user(google_user value) { users_[value.email] = std::move(value); }
  const google_client* find_client(std::string_view id) const;
  const google_user* find_user(std::string_view email) const;
  const auto& clients() const { return clients_; }
  const auto& users() const { return users_; }
  const auto& grants() const { return grants_; }

  /// The code that takes the user back.
  std::string allow(consent given);

  std::variant<google_tokens, grant_problem> redeem(std::string_view code, const google_client& client,
                                                    std::string_view redirect_uri, const std::string* verifier);
  std::variant<google_tokens, grant_problem> refresh(std::string_view refresh_token, const google_client& client);
  /// False for a token that is not good any more.
  bool revoke(std::string_view token);
  /// By an Authorization header.
  std::optional<google_access> authenticate(std::string_view authorization) const;

  /// A refresh token without a browser. The user and the client must be known.
  std::string grant(const std::string& email, const std::string& client_id, std::set<std::string> scopes);
  /// As if every user had removed all access in the account's settings.
  void end_grants();
  /// Every access token ends before its time.
  void forget_access_tokens() { access_tokens_.clear(); }
  void clear() { *this = google_identity(); }

  /// How long an access token lasts.
  int access_seconds = 3599;

 private:
  using grant_id = std::uint64_t;
  struct issued_code {
    consent given;
    grant_id of;
    timestamp expires;
    bool with_refresh_token;
  };
  struct access {
    grant_id of;
    std::set<std::string> scopes;
    timestamp expires;
  };

  std::pair<grant_id, bool> grant_for(const std::string& email, const std::string& client_id,
                                      const std::set<std::string>& scopes);
  std::string new_token(std::string_view prefix);
  std::string id_token_for(const google_client& client, const std::string& email) const;
  google_tokens tokens_of(grant_id of, const std::set<std::string>& scopes);

  std::map<std::string, google_client, std::less<>> clients_;
  std::map<std::string, google_user, std::less<>> users_;
  std::map<grant_id, google_grant> grants_;
  std::map<std::string, issued_code, std::less<>> codes_;
  std::map<std::string, grant_id, std::less<>> refresh_tokens_;
  std::map<std::string, access, std::less<>> access_tokens_;
  std::uint64_t serial_ = 0;
};

}  // namespace simulator
