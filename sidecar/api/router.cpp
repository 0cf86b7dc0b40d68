#include "router.h"

#include <algorithm>
#include <functional>

namespace byocd {

void Router::add(std::string method, std::string path, Handler handler) {
  const std::size_t open = path.find('{');
  const std::size_t close = path.find('}');
  const bool has_parameter = open != path.npos && close != path.npos;
  routes_.push_back({std::move(method), path, path.substr(0, open),
                     has_parameter ? path.substr(close + 1) : std::string(), has_parameter, std::move(handler)});
}

bool Router::Route::matches(std::string_view path) const {
  if (!has_parameter) return path == before;
  if (path.size() <= before.size() + after.size() || !path.starts_with(before) || !path.ends_with(after)) return false;
  return path.substr(before.size(), path.size() - before.size() - after.size()).find('/') == path.npos;
}

std::vector<const Router::Route*> Router::routes_of(std::string_view path) const {
  std::vector<const Route*> found;
  for (const auto& route : routes_)
    if (route.matches(path)) found.push_back(&route);
  const auto is_literal = [](const Route* route) { return !route->has_parameter; };
  if (std::any_of(found.begin(), found.end(), is_literal)) std::erase_if(found, std::not_fn(is_literal));
  return found;
}

std::string_view Router::pattern(std::string_view method, std::string_view path) const {
  for (const auto* route : routes_of(path))
    if (route->method == method) return route->pattern;
  return {};
}

std::string Router::allowed(std::string_view path) const {
  std::string methods;
  for (const Route* route : routes_of(path)) {
    if (!methods.empty()) methods += ", ";
    methods += route->method == "GET" ? "GET, HEAD" : route->method;
  }
  return methods;
}

void Router::serve(ApiRequest request, const Reply& reply) const {
  for (const Route* route : routes_of(request.path)) {
    if (route->method != request.method) continue;
    if (route->has_parameter)
      request.parameter =
          request.path.substr(route->before.size(), request.path.size() - route->before.size() - route->after.size());
    return route->handler(request, reply);
  }
  const std::string methods = allowed(request.path);
  if (methods.empty()) return reply(problem_answer(404, "Not Found", "There is nothing at this address."));
  reply(problem_answer(405, "Method Not Allowed", "This address answers " + methods + "."));
}

}  // namespace byocd
