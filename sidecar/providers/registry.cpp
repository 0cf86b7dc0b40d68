#include "registry.h"

namespace byocd {

void Registry::add(std::unique_ptr<Provider> provider) {
  std::string name(provider->name());
  providers_.insert_or_assign(std::move(name), std::move(provider));
}

const Provider* Registry::find(std::string_view name) const {
  const auto found = providers_.find(name);
  return found == providers_.end() ? nullptr : found->second.get();
}

}  // namespace byocd
