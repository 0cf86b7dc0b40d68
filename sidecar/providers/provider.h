// A provider as this program sees it: a pure adapter between what the database says and HTTP. No I/O, no state, no
// secrets kept.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "../db/job.h"
#include "../http/request.h"
#include "problem.h"

namespace byocd {

class OAuthProvider;

/// Why no request can be made: the credential lacks a field, say.
struct PrepareError {
  std::string code;
  std::string message;
};

/// What an answer to a verification request means.
struct Verdict {
  enum class Kind {
    /// So far so good: prepare the next step.
    next,
    verified,
    /// The tenant has to do something: `problem` says what.
    failed,
    /// Nothing was learned (network, provider down): ask again later.
    retry,
  };
  Kind kind = Kind::retry;
  Problem problem{};
  /// What was seen, for people: names and values in the order to show them.
  std::vector<std::pair<std::string, std::string>> details{};
  /// The account may send to verified recipients only.
  bool on_trial = false;
  /// Of a verified credential: what could not be checked, in a sentence; empty: everything was.
  std::string note{};
};

/// Failed, or to be tried again when nobody could be asked.
Verdict verdict_of(Problem problem);

/// One kind of credential. Implementations are stateless but for their base URL. What can be done with it is told by
/// the interfaces that they implement besides: MessageProvider, CallProvider.
class Provider {
 public:
  virtual ~Provider() = default;

  /// The name in byoc.providers.
  virtual std::string_view name() const = 0;

  /// The request of verification step `step` (from 0), for as long as the verdict before it was `next`; or what is
  /// wrong already without one.
  virtual Result<HttpRequest, Problem> prepare_verification(const CredentialFields& credential, int step) const = 0;
  virtual Verdict interpret_verification(const CredentialFields& credential, int step,
                                         const HttpResult& result) const = 0;

  /// How an access token is had for it; then credentials come with one more field, `access_token`. nullptr: it needs
  /// none.
  virtual const OAuthProvider* oauth() const { return nullptr; }
};

/// Field `name` of a credential, or nothing when it is absent or empty.
const SecretString* find_field(const CredentialFields& credential, std::string_view name);

}  // namespace byocd
