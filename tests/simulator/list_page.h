/// The envelope around every list that Twilio's API answers
/// (https://www.twilio.com/docs/usage/twilios-response#pagination).
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "form.h"
#include "http.h"

namespace simulator {

/// Where a page of a list stands. Tokens are what `PageToken` continues from; empty when pages are counted only.
struct page_position {
  std::size_t page = 0;
  std::size_t page_size = 50;
  bool has_next = false;
  std::string next_token;
  std::string previous_token;
};

/// `Page` and `PageSize` of a list request: page 0 and 50 by default, 1,000 items at most. Nothing when they are not
/// such numbers.
std::optional<page_position> requested_page(const form& query);

/// `{"<name>":[items],"page":…,"next_page_uri":…}` for the list at `path`; the URIs repeat the request's filters.
std::string list_envelope(std::string_view path, const form& query, std::string_view name,
                          const std::vector<std::string>& items, const page_position& position);

/// A page of a list that is short enough to be made whole first.
answer whole_list(const request& asked, std::string_view name, const std::vector<std::string>& items);

}  // namespace simulator
