// Which handler serves which method and path.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "exchange.h"

namespace byocd {

class Router {
 public:
  using Handler = std::function<void(const ApiRequest&, Reply)>;

  /// `path` has segments as they are, and at most one `{name}` that stands for any segment but an empty one, and but
  /// one for which another path has that segment as it is.
  void add(std::string method, std::string path, Handler handler);

  /// Calls the handler, or answers itself: 404 for an unknown path, 405 for a method that the path does not have.
  void serve(ApiRequest request, const Reply& reply) const;

  /// The pattern that serve() would choose, as it was given to add(); empty when there is none.
  std::string_view pattern(std::string_view method, std::string_view path) const;

  /// The methods of a path, as in the header Allow; empty for an unknown path.
  std::string allowed(std::string_view path) const;

 private:
  struct Route {
    std::string method;
    std::string pattern;
    // What stands before and after the parameter; `before` is all of it when there is none.
    std::string before;
    std::string after;
    bool has_parameter;
    Handler handler;

    bool matches(std::string_view path) const;
  };

  std::vector<const Route*> routes_of(std::string_view path) const;

  std::vector<Route> routes_;
};

}  // namespace byocd
