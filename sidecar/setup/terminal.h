// Questions to a person.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "../secret.h"

namespace byocd {

/// Asks on standard error and reads a line from standard input, without blanks around it; nothing at its end. `hidden`:
/// what is typed is not shown; the terminal is as before afterwards, also when a signal ends the process.
std::optional<SecretString> ask(const std::string& question, bool hidden);

}  // namespace byocd
