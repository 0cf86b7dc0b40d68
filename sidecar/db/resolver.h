// The addresses of names, without the loop waiting for name servers.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "../loop.h"
#include "../result.h"

namespace byocd {

/// Addresses as numbers, in the order in which to try them; or why there are none.
using Addresses = Result<std::vector<std::string>, std::string>;

/// Asks the system. Blocks for as long as its name servers take.
Addresses look_up(const std::string& name);

/// Looks each name up in a thread of its own, once at a time. One whose name servers are silent outlives the resolver.
class Resolver {
 public:
  using Lookup = std::function<Addresses(const std::string& name)>;
  using Callback = std::function<void(const Addresses&)>;
  /// Whoever drops it is not called any more.
  using Request = std::shared_ptr<const Callback>;

  explicit Resolver(Loop& loop, Lookup lookup = look_up);
  ~Resolver();

  /// Calls back from the loop.
  [[nodiscard]] Request resolve(const std::string& name, Callback callback);

 private:
  struct Answers;

  void take_answers();

  Lookup lookup_;
  std::shared_ptr<Answers> answers_;
  std::unique_ptr<SocketWatch> watch_;
  std::map<std::string, std::vector<std::weak_ptr<const Callback>>> waiting_;
};

}  // namespace byocd
