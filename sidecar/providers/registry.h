// The providers that this program knows, by name.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "provider.h"

namespace byocd {

class Registry {
 public:
  void add(std::unique_ptr<Provider> provider);
  /// nullptr when there is none of that name.
  const Provider* find(std::string_view name) const;
  /// nullptr also when it cannot do what `Kind` does (MessageProvider, CallProvider).
  template <class Kind>
  const Kind* find_as(std::string_view name) const {
    return dynamic_cast<const Kind*>(find(name));
  }

  /// The names of all that can do what `Kind` does.
  template <class Kind>
  std::vector<std::string_view> names_of() const {
    std::vector<std::string_view> names;
    for (const auto& [name, provider] : providers_)
      if (dynamic_cast<const Kind*>(provider.get())) names.push_back(name);
    return names;
  }

 private:
  std::map<std::string, std::unique_ptr<Provider>, std::less<>> providers_;
};

}  // namespace byocd
