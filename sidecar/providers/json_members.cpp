#include "json_members.h"

#include <charconv>
#include <nlohmann/json.hpp>

namespace byocd {

std::optional<std::string> text_member(const nlohmann::json& document, const char* name) {
  const auto found = document.find(name);
  if (found == document.end() || !found->is_string() || found->get_ref<const std::string&>().empty())
    return std::nullopt;
  return found->get<std::string>();
}

std::optional<int> number_member(const nlohmann::json& document, const char* name) {
  const auto found = document.find(name);
  if (found == document.end()) return std::nullopt;
  if (found->is_number_integer()) return found->get<int>();
  if (!found->is_string()) return std::nullopt;
  const auto& text = found->get_ref<const std::string&>();
  int value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

}  // namespace byocd
