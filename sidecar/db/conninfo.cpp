#include "conninfo.h"

#include <libpq-fe.h>

#include <memory>
#include <string_view>

namespace byocd {

Result<bool, std::string> conninfo_has_password(const std::string& conninfo) {
  // A bare word is a database name.
  if (conninfo.find('=') == conninfo.npos && conninfo.find("://") == conninfo.npos) return false;
  char* reason = nullptr;
  const std::unique_ptr<PQconninfoOption, decltype(&PQconninfoFree)> options(PQconninfoParse(conninfo.c_str(), &reason),
                                                                             &PQconninfoFree);
  const std::unique_ptr<char, decltype(&PQfreemem)> message(reason, &PQfreemem);
  // libpq quotes the string in its message, so the message is not passed on.
  if (!options) return fail(std::string("it is neither 'key=value' pairs nor a postgresql:// URI"));
  for (const auto* option = options.get(); option->keyword != nullptr; ++option)
    if (std::string_view(option->keyword) == "password" && option->val != nullptr && *option->val != '\0') return true;
  return false;
}

}  // namespace byocd
