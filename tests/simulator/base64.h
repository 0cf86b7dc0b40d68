/// Base64 with padding (RFC 4648, section 4), over OpenSSL's EVP block functions.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace simulator {

/// Encodes bytes; never fails.
std::string base64_encode(std::string_view bytes);

/// Decodes padded base64 without line breaks; nothing when `text` is not that.
std::optional<std::string> base64_decode(std::string_view text);

}  // namespace simulator
