// Random identifiers.
#pragma once

#include <string>

namespace byocd {

/// A random UUID (version 4, RFC 9562) in its usual 36 characters.
/// Throws std::runtime_error when the system has no randomness to give.
std::string random_uuid();

}  // namespace byocd
