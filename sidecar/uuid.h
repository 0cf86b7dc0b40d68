// Random identifiers.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace byocd {

/// A random UUID (version 4, RFC 9562) in its usual 36 characters.
/// Throws std::runtime_error when the system has no randomness to give.
std::string random_uuid();

/// 16 bytes in the usual 36 characters.
std::string uuid_text(std::string_view bytes);

/// Whether the text is a UUID in its usual 36 characters, of any version.
bool is_uuid(std::string_view text);

/// Its 16 bytes; false when the text is none.
bool uuid_bytes(std::string_view text, std::uint8_t (&bytes)[16]);

}  // namespace byocd
