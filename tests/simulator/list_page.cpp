#include "list_page.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <iterator>

#include "text.h"
#include "twilio_errors.h"

namespace simulator {
namespace {

constexpr std::size_t largest_page = 1000;

std::optional<std::size_t> number_in(const form& query, std::string_view name, std::size_t otherwise) {
  const auto* text = query.find(name);
  if (text == nullptr || text->empty()) return otherwise;
  std::size_t value = 0;
  const auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), value);
  if (error != std::errc{} || end != text->data() + text->size() || value > 1'000'000'000) return std::nullopt;
  return value;
}

std::string page_uri(std::string_view path, const form& query, std::size_t page_size, std::size_t page,
                     std::string_view token) {
  form next;
  for (const auto& [name, value] : query.fields()) {
    if (name != "Page" && name != "PageSize" && name != "PageToken") next.add(name, value);
  }
  next.add("PageSize", std::to_string(page_size));
  next.add("Page", std::to_string(page));
  if (!token.empty()) next.add("PageToken", token);
  return fmt::format("{}?{}", path, next.encoded());
}

}  // namespace

std::optional<page_position> requested_page(const form& query) {
  const auto page = number_in(query, "Page", 0);
  const auto page_size = number_in(query, "PageSize", 50);
  if (!page || !page_size || *page_size == 0) return std::nullopt;
  return page_position{*page, std::min(*page_size, largest_page), false, {}, {}};
}

std::string list_envelope(std::string_view path, const form& query, std::string_view name,
                          const std::vector<std::string>& items, const page_position& position) {
  std::string out;
  std::size_t length = 1024;
  for (const auto& item : items) length += item.size() + 1;
  out.reserve(length);
  const auto add_uri = [&](std::string_view field, bool present, std::size_t page, std::string_view token) {
    fmt::format_to(std::back_inserter(out), "\"{}\":", field);
    if (present)
      append_json_string(out, page_uri(path, query, position.page_size, page, token));
    else
      out += "null";
    out.push_back(',');
  };
  const auto start = position.page * position.page_size;
  fmt::format_to(std::back_inserter(out), R"({{"page":{},"page_size":{},"start":{},"end":{},)", position.page,
                 position.page_size, start, items.empty() ? start : start + items.size() - 1);
  add_uri("first_page_uri", true, 0, {});
  add_uri("next_page_uri", position.has_next, position.page + 1, position.next_token);
  add_uri("previous_page_uri", position.page > 0, position.page - 1, position.previous_token);
  out += "\"uri\":";
  append_json_string(out, page_uri(path, query, position.page_size, position.page, query.get("PageToken")));
  fmt::format_to(std::back_inserter(out), ",\"{}\":[", name);
  for (std::size_t i = 0; i < items.size(); ++i) {
    if (i > 0) out.push_back(',');
    out += items[i];
  }
  out += "]}";
  return out;
}

answer whole_list(const request& asked, std::string_view name, const std::vector<std::string>& items) {
  const auto query = form::parse(asked.query);
  auto position = requested_page(query);
  if (!position) return to_answer({400, 20001, "Page and PageSize must be numbers."});
  const auto first = std::min(position->page * position->page_size, items.size());
  const auto last = std::min(first + position->page_size, items.size());
  position->has_next = last < items.size();
  const std::vector<std::string> part(items.begin() + static_cast<std::ptrdiff_t>(first),
                                      items.begin() + static_cast<std::ptrdiff_t>(last));
  answer result;
  result.body = list_envelope(asked.path, query, name, part, *position);
  return result;
}

}  // namespace simulator
