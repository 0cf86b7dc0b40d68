// URLs as libcurl keeps them, so that it need not take apart and write anew the same one for each request.
#pragma once

#include <curl/curl.h>

#include <memory>
#include <string>
#include <unordered_map>

namespace byocd {

/// One for each account that is sent from. When there are very many it forgets them all and begins again.
class ParsedUrls {
 public:
  using Url = std::shared_ptr<CURLU>;

  /// Nothing when libcurl does not take it for an absolute URL.
  Url get(const std::string& url);

 private:
  std::unordered_map<std::string, Url> urls_;
};

}  // namespace byocd
