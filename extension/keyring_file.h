// Reads byoc.keyring_file.
#pragma once

#include "pg_boundary.h"

namespace byoc {

// Reads at most `capacity` bytes into `text`, which the caller wipes. False, with `problem` written, when the file
// cannot be read or others can reach it. Raises nothing: the postmaster runs it.
bool read_keyring_file(const char* path, char* text, size_t capacity, size_t& size, char* problem,
                       size_t problem_capacity);

}  // namespace byoc
