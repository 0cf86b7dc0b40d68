#include "report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "../json.h"

namespace byocd {

namespace {

using State = CheckResult::State;

constexpr std::size_t label_width = 10;
constexpr const char* replacement = "\xEF\xBF\xBD";  // U+FFFD

const char* mark(State state) {
  switch (state) {
    case State::passed:
      return "✅";
    case State::failed:
      return "❌";
    case State::skipped:
      break;
  }
  return "➖";
}

const char* word(State state) {
  switch (state) {
    case State::passed:
      return "passed";
    case State::failed:
      return "failed";
    case State::skipped:
      break;
  }
  return "skipped";
}

std::string line(std::string_view label, std::string_view value) {
  return fmt::format("   {:<{}} {}\n", label, label_width, printable(value));
}

std::string colored(std::string text, const char* color, bool colors) {
  return colors ? fmt::format("\x1b[{}m{}\x1b[0m", color, text) : text;
}

std::ptrdiff_t count(const std::vector<CheckResult>& results, State state) {
  return std::count_if(results.begin(), results.end(), [&](const auto& result) { return result.state == state; });
}

// Length of the UTF-8 sequence at the beginning, and whether it may be shown. An invalid byte counts as one that may
// not.
std::pair<std::size_t, bool> first_character(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(i < text.size() ? text[i] : 0); };
  const unsigned lead = byte(0);
  if (lead < 0x80) return {1, lead >= 0x20 && lead != 0x7f};
  const std::size_t length = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
  char32_t code = lead & (0xff >> (length + 1));
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return {1, false};
    code = code << 6 | (byte(i) & 0x3f);
  }
  const bool stray = lead < 0xc2 || lead > 0xf4 ||
                     code < (length == 4   ? 0x10000u
                             : length == 3 ? 0x800u
                                           : 0x80u) ||
                     code > 0x10ffff || (code >= 0xd800 && code < 0xe000);
  if (stray) return {1, false};
  const bool control = code < 0xa0 || code == 0x2028 || code == 0x2029;
  const bool turns = code == 0x61c || (code >= 0x200e && code <= 0x200f) || (code >= 0x202a && code <= 0x202e) ||
                     (code >= 0x2066 && code <= 0x2069);
  return {length, !control && !turns};
}

}  // namespace

std::string printable(std::string_view text) {
  std::string shown;
  while (!text.empty()) {
    const auto [length, good] = first_character(text);
    if (good)
      shown += text.substr(0, length);
    else
      shown += replacement;
    text.remove_prefix(length);
  }
  return shown;
}

std::string heading(const CheckSubject& subject) {
  if (subject.org_id.empty()) return "Checking the Twilio account of the environment (TWILIO_...)\n\n";
  const std::string name = subject.organization.empty() ? "" : fmt::format(" \"{}\"", printable(subject.organization));
  return fmt::format("Checking the Twilio account of organization{} {}\n\n", name, subject.org_id);
}

std::string to_text(const CheckResult& result, bool colors) {
  std::string text = fmt::format("{} {}\n", mark(result.state), colored(result.title, "1", colors));
  for (const auto& [label, value] : result.details) text += line(label, value);
  if (result.state == State::skipped) text += line("skipped", result.reason);
  if (!result.warning.empty()) text += colored(line("warning", result.warning), "33", colors);
  if (result.state == State::failed) {
    text += colored(line("cause", result.problem.cause), "31", colors);
    text += line("fix", result.problem.fix);
  }
  return text;
}

std::string total_line(const std::vector<CheckResult>& results) {
  std::string text =
      fmt::format("Total: {} passed, {} failed", count(results, State::passed), count(results, State::failed));
  if (const auto skipped = count(results, State::skipped); skipped > 0) text += fmt::format(", {} skipped", skipped);
  return text;
}

std::string to_json(const CheckSubject& subject, const std::vector<CheckResult>& results) {
  using json = nlohmann::ordered_json;
  const auto text_or_null = [](const std::string& text) { return text.empty() ? json(nullptr) : json(text); };
  json checks = json::array();
  for (const auto& result : results) {
    json check{{"name", result.name}, {"title", result.title}, {"status", word(result.state)}};
    check["details"] = json::object();
    for (const auto& [label, value] : result.details) check["details"][label] = value;
    // To the millisecond.
    check["seconds"] = result.seconds ? json(std::round(*result.seconds * 1000) / 1000) : json(nullptr);
    check["warning"] = text_or_null(result.warning);
    check["code"] = text_or_null(result.problem.code);
    check["cause"] = text_or_null(result.problem.cause);
    check["fix"] = text_or_null(result.problem.fix);
    check["reason"] = text_or_null(result.reason);
    checks.push_back(std::move(check));
  }
  const json document{{"source", subject.source},
                      {"org_id", text_or_null(subject.org_id)},
                      {"organization", text_or_null(subject.organization)},
                      {"to", text_or_null(subject.recipient)},
                      {"checks", std::move(checks)},
                      {"passed", count(results, State::passed)},
                      {"failed", count(results, State::failed)},
                      {"skipped", count(results, State::skipped)},
                      {"exit_code", exit_code(results)}};
  return dump_json(document, 2) + "\n";
}

int exit_code(const std::vector<CheckResult>& results) {
  int code = 0;
  for (const auto& result : results)
    if (result.state == State::failed) code = std::max(code, result.problem.unreachable ? 3 : 1);
  return code;
}

}  // namespace byocd
