// Headers of every answer.
#pragma once

#include <utility>

namespace byocd {

/// What is never asked for by a page must not be run as one, shown in a frame, kept, or told where it was linked from.
inline constexpr std::pair<const char*, const char*> default_headers[] = {
    {"Cache-Control", "no-store"},
    {"Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'"},
    {"Cross-Origin-Resource-Policy", "same-origin"},
    {"Referrer-Policy", "no-referrer"},
    {"X-Content-Type-Options", "nosniff"},
};

}  // namespace byocd
