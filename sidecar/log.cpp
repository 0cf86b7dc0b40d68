#include "log.h"

#include <spdlog/formatter.h>
#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <memory>
#include <nlohmann/json.hpp>

#include "json.h"
#include "redact.h"

namespace byocd::log {

namespace {

// Those of the line that is being written.
const Ids* current_ids = nullptr;

// One JSON object a line. spdlog's patterns cannot escape, so the object is built here.
class JsonFormatter final : public spdlog::formatter {
 public:
  void format(const spdlog::details::log_msg& msg, spdlog::memory_buf_t& out) override {
    time_.format(msg, time_buffer_);
    const auto level = spdlog::level::to_string_view(msg.level);
    nlohmann::ordered_json line{
        {"time", std::string_view(time_buffer_.data(), time_buffer_.size())},
        {"level", std::string_view(level.data(), level.size())},
        {"message", std::string_view(msg.payload.data(), msg.payload.size())},
    };
    time_buffer_.clear();
    for (const auto& [name, id] : *current_ids) line[name] = redacted(id);
    const std::string text = dump_json(line) + "\n";
    out.append(text.data(), text.data() + text.size());
  }
  std::unique_ptr<spdlog::formatter> clone() const override { return std::make_unique<JsonFormatter>(); }

 private:
  spdlog::pattern_formatter time_{"%Y-%m-%dT%H:%M:%S.%eZ", spdlog::pattern_time_type::utc, ""};
  spdlog::memory_buf_t time_buffer_;
};

spdlog::logger& logger() {
  static const auto instance = [] {
    auto made = std::make_shared<spdlog::logger>("byocd", std::make_shared<spdlog::sinks::stderr_sink_st>());
    made->set_pattern("%Y-%m-%dT%H:%M:%S.%eZ %l %v", spdlog::pattern_time_type::utc);
    made->flush_on(spdlog::level::trace);
    return made;
  }();
  return *instance;
}

spdlog::level::level_enum to_spdlog(Level level) {
  switch (level) {
    case Level::debug:
      return spdlog::level::debug;
    case Level::info:
      return spdlog::level::info;
    case Level::warn:
      return spdlog::level::warn;
    case Level::error:
      return spdlog::level::err;
  }
  return spdlog::level::info;
}

}  // namespace

void configure(Level level, Format format) {
  logger().set_level(to_spdlog(level));
  if (format == Format::json) logger().set_formatter(std::make_unique<JsonFormatter>());
}

bool enabled(Level level) {
  return logger().should_log(to_spdlog(level));
}

void write(Level level, std::string_view message, Ids ids) {
  const std::string safe = redacted(message);
  current_ids = &ids;
  logger().log(to_spdlog(level), spdlog::string_view_t(safe.data(), safe.size()));
  current_ids = nullptr;
}

}  // namespace byocd::log
