// The pages by which tenants serve themselves: files as they were built in. What they show comes from the REST API.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "embedded_file.h"
#include "router.h"

namespace byocd {

class Dashboard {
 public:
  /// `files` as embedded_pages(); `NAME.html` is the page `/dashboard/NAME`, all others are below `/dashboard/assets`.
  /// `frame_ancestors`: origins whose pages may show these in a frame.
  Dashboard(std::span<const EmbeddedFile> files, const std::vector<std::string>& frame_ancestors);

  void add_routes(Router& router) const;

 private:
  void add(Router& router, const EmbeddedFile& file) const;

  std::span<const EmbeddedFile> files_;
  std::string policy_;
};

}  // namespace byocd
