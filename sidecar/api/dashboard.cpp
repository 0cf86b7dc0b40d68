#include "dashboard.h"

#include <utility>

namespace byocd {

namespace {

constexpr std::string_view page_suffix = ".html";

constexpr std::pair<std::string_view, std::string_view> content_types[] = {
    {page_suffix, "text/html; charset=utf-8"},
    {".css", "text/css; charset=utf-8"},
    {".js", "text/javascript; charset=utf-8"},
    {".svg", "image/svg+xml"},
};

std::string content_type(std::string_view name) {
  for (const auto& [suffix, type] : content_types)
    if (name.ends_with(suffix)) return std::string(type);
  return "application/octet-stream";
}

// Whether the header If-None-Match names the tag: a list, or `*`. A proxy that compresses makes a tag a weak one.
bool is_fresh(const ApiRequest& request, const std::string& tag) {
  const std::string& seen = request.header("if-none-match");
  return seen == "*" || seen.find(tag) != seen.npos;
}

// Nothing but our own files and API; no text becomes HTML or a script.
std::string policy(const std::vector<std::string>& frame_ancestors) {
  std::string text =
      "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; "
      "form-action 'none'; require-trusted-types-for 'script'; trusted-types 'none'; frame-ancestors";
  if (frame_ancestors.empty()) return text + " 'none'";
  for (const auto& origin : frame_ancestors) text += " " + origin;
  return text;
}

}  // namespace

Dashboard::Dashboard(std::span<const EmbeddedFile> files, const std::vector<std::string>& frame_ancestors)
    : files_(files), policy_(policy(frame_ancestors)) {}

void Dashboard::add_routes(Router& router) const {
  for (const auto& file : files_) add(router, file);
}

void Dashboard::add(Router& router, const EmbeddedFile& file) const {
  const bool is_page = file.name.ends_with(page_suffix);
  const std::string name(file.name.substr(0, file.name.size() - (is_page ? page_suffix.size() : 0)));
  router.add("GET", (is_page ? "/dashboard/" : "/dashboard/assets/") + name,
             [file, policy = policy_](const ApiRequest& request, const Reply& reply) {
               const std::string tag = '"' + std::string(file.hash) + '"';
               ApiAnswer answer{200, content_type(file.name), std::string(file.bytes), {}, {}};
               if (is_fresh(request, tag)) answer = {304, "", "", {}, {}};
               answer.headers = {{"Cache-Control", "no-cache"}, {"Content-Security-Policy", policy}, {"ETag", tag}};
               reply(std::move(answer));
             });
}

}  // namespace byocd
