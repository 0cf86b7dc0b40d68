#include "parsed_urls.h"

namespace byocd {

namespace {

// Each takes about a kilobyte.
constexpr std::size_t most_urls = 2'000;

}  // namespace

ParsedUrls::Url ParsedUrls::get(const std::string& url) {
  if (const auto found = urls_.find(url); found != urls_.end()) return found->second;
  Url parsed(curl_url(), &curl_url_cleanup);
  if (!parsed || curl_url_set(parsed.get(), CURLUPART_URL, url.c_str(), 0) != CURLUE_OK) return nullptr;
  if (urls_.size() >= most_urls) urls_.clear();
  urls_.emplace(url, parsed);
  return parsed;
}

}  // namespace byocd
