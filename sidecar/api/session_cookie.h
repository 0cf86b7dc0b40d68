// How a request shows its token: in the header Authorization, or in the cookie that a hand-over made.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "../secret.h"
#include "exchange.h"

namespace byocd {

/// A request's token; empty when it has none.
struct ShownToken {
  SecretString token;
  bool by_cookie = false;
};

/// Empty when there is no cookie of that name.
std::string cookie_value(const ApiRequest& request, std::string_view name);

/// The header goes first.
ShownToken shown_token(const ApiRequest& request, const std::string& public_url);

/// Whether the text can be a compact JWS, and nothing that would break a header.
bool looks_like_token(std::string_view text);

/// What a page must send as X-CSRF-Token along with the cookie: made of the token, so that only who has the token, or
/// was told by us, knows it.
std::string csrf_token(const SecretString& token);

/// Whether a request with the cookie may change something: it is none that another site's page could make.
bool has_csrf_token(const ApiRequest& request, const SecretString& token);

/// Values of the header Set-Cookie. `public_url` says whether the cookie is for https only, and for which path. Then
/// the name says so too, for browsers to see to it: `__Host-` cannot be set by neighbours below the same domain, nor by
/// anybody over plain http; below a path `__Secure-`, which only means the latter.
std::string session_cookie(const SecretString& token, const std::string& public_url);
std::string no_session_cookie(const std::string& public_url);

/// `/sms` of `https://example.org/sms`, empty when there is none.
std::string path_of(const std::string& public_url);

/// Whether the request comes from a page of ours or of an allowed origin (`https://app.example`).
/// Ours are of the public URL, or of the host that was asked.
bool has_known_origin(const ApiRequest& request, const std::string& public_url,
                      const std::vector<std::string>& allowed);

}  // namespace byocd
