#include "call.h"

namespace byocd {

const char* to_string(CallOutcome::Kind kind) {
  using Kind = CallOutcome::Kind;
  switch (kind) {
    case Kind::accepted:
      return "accepted";
    case Kind::rejected:
      return "rejected";
    case Kind::bad_credential:
      return "bad_credential";
    case Kind::throttled:
      return "throttled";
    case Kind::unavailable:
      return "unavailable";
    case Kind::next:
    case Kind::returned:
      break;
  }
  return "returned";
}

}  // namespace byocd
