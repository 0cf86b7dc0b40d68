// The log of the process: one line an event on standard error, text or JSON, redacted.
// Never pass a message body, a credential field or a token; numbers go through masked_number().
#pragma once

#include <fmt/format.h>

#include <initializer_list>
#include <string_view>
#include <utility>

namespace byocd::log {

enum class Level { debug, info, warn, error };
enum class Format { text, json };

/// Sets level and format; before it, `info` and `text` hold.
void configure(Level level, Format format);

bool enabled(Level level);

/// Ids of what a line is about (message_id, org_id, request_id): the JSON form has them as members too.
using Ids = std::initializer_list<std::pair<std::string_view, std::string_view>>;

/// Writes one line. Use the functions below.
void write(Level level, std::string_view message, Ids ids = {});

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

template <class... Args>
void debug(Ids ids, fmt::format_string<Args...> format, Args&&... args) {
  if (enabled(Level::debug)) write(Level::debug, fmt::format(format, std::forward<Args>(args)...), ids);
}
template <class... Args>
void info(Ids ids, fmt::format_string<Args...> format, Args&&... args) {
  if (enabled(Level::info)) write(Level::info, fmt::format(format, std::forward<Args>(args)...), ids);
}
template <class... Args>
void warn(Ids ids, fmt::format_string<Args...> format, Args&&... args) {
  if (enabled(Level::warn)) write(Level::warn, fmt::format(format, std::forward<Args>(args)...), ids);
}
template <class... Args>
void error(Ids ids, fmt::format_string<Args...> format, Args&&... args) {
  if (enabled(Level::error)) write(Level::error, fmt::format(format, std::forward<Args>(args)...), ids);
}

}  // namespace byocd::log
