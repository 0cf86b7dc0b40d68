// The log of the process: one line an event on standard error, text or JSON, redacted.
// Never pass a message body, a credential field or a token; numbers go through masked_number().
#pragma once

#include <fmt/format.h>

#include <string_view>
#include <utility>

namespace byocd::log {

enum class Level { debug, info, warn, error };
enum class Format { text, json };

/// Sets level and format; before it, `info` and `text` hold.
void configure(Level level, Format format);

bool enabled(Level level);

/// Writes one line. Use the functions below.
void write(Level level, std::string_view message);

template <class... Args>
void debug(fmt::format_string<Args...> format, Args&&... args) {
  if (enabled(Level::debug)) write(Level::debug, fmt::format(format, std::forward<Args>(args)...));
}
template <class... Args>
void info(fmt::format_string<Args...> format, Args&&... args) {
  if (enabled(Level::info)) write(Level::info, fmt::format(format, std::forward<Args>(args)...));
}
template <class... Args>
void warn(fmt::format_string<Args...> format, Args&&... args) {
  if (enabled(Level::warn)) write(Level::warn, fmt::format(format, std::forward<Args>(args)...));
}
template <class... Args>
void error(fmt::format_string<Args...> format, Args&&... args) {
  if (enabled(Level::error)) write(Level::error, fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace byocd::log
