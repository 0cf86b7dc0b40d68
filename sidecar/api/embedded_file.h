// A file that was put into the program when it was built (cmake/embed.cmake).
#pragma once

#include <span>
#include <string_view>

namespace byocd {

struct EmbeddedFile {
  std::string_view name;
  /// SHA-256 in hexadecimal digits.
  std::string_view hash;
  std::string_view bytes;
};

/// The files of sidecar/web.
std::span<const EmbeddedFile> embedded_pages();

}  // namespace byocd
