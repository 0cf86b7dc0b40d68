// Key ring files from anywhere: whatever is accepted is a ring that can be written and read again.
#include "crypto/keyring.h"

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace byoc;
  Keyring ring;
  const auto problem = parse_keyring({reinterpret_cast<const char*>(data), size}, ring);
  if (problem.error != KeyringError::none) {
    if (ring.count != 0) std::abort();
    return 0;
  }
  if (ring.active() == nullptr || ring.count > keyring_capacity) std::abort();
  std::string text;
  for (std::uint32_t i = 0; i < ring.count; ++i) {
    char line[keyring_line_capacity];
    text.append(line, format_keyring_line(ring.keys[i], line)).push_back('\n');
  }
  Keyring again;
  if (parse_keyring(text, again).error != KeyringError::none || std::memcmp(&ring, &again, sizeof ring) != 0)
    std::abort();
  return 0;
}
