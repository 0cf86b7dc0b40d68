// The key ring: the master keys (KEK) that wrap the organizations' data keys. Text format, one key a line:
//
//     # comment
//     <id> <active|retired> <created> <key> <check>
//
// id       1 to 16 of a-z, 0-9 and '-'
// active   exactly one key of the ring is active: new data keys are wrapped with it; retired keys only unwrap
// created  YYYY-MM-DD, for people
// key      32 bytes in base64
// check    first 8 hexadecimal digits of SHA-256(id || 0x00 || key bytes): finds a damaged or mistyped line
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace byoc {

constexpr std::size_t master_key_size = 32;
constexpr std::size_t keyring_capacity = 16;
constexpr std::size_t key_id_capacity = 16;
constexpr std::size_t keyring_file_limit = 64 * 1024;  // bytes; a larger file is not a key ring

// Plain data, since the ring lives in shared memory.
struct MasterKey {
  char id[key_id_capacity + 1];  // zero-terminated
  char created[11];              // zero-terminated YYYY-MM-DD
  bool active;
  std::uint8_t bytes[master_key_size];
};

struct Keyring {
  std::uint32_t count;
  MasterKey keys[keyring_capacity];

  // The key that wraps new data keys; null for an empty ring.
  const MasterKey* active() const noexcept;
  // The key with this id; null when the ring does not have it.
  const MasterKey* find(std::string_view id) const noexcept;
};

enum class KeyringError {
  none,
  empty,           // no key in the file
  too_large,       // over keyring_file_limit
  too_many_keys,   // over keyring_capacity
  malformed_line,  // not five fields
  bad_id,
  bad_state,
  bad_date,
  bad_key,   // not base64 of 32 bytes
  damaged,   // check does not match
  weak_key,  // all bytes are equal
  duplicate_id,
  no_active_key,
  several_active_keys,
};

struct KeyringProblem {
  KeyringError error = KeyringError::none;
  int line = 0;  // 1-based; 0 when the problem is not one of a line
};

// Reads a whole ring. On a problem `ring` is left empty and cleansed.
KeyringProblem parse_keyring(std::string_view text, Keyring& ring) noexcept;

// The problem as a phrase for people: what is wrong and what to do. Never quotes the file.
const char* describe(KeyringError error) noexcept;

// Wipes every key.
void cleanse(Keyring& ring) noexcept;

// Fills `key` with a new random key and a random id, active, created on the given UTC day. False when the system's
// random generator fails.
bool generate_master_key(std::string_view created, MasterKey& key) noexcept;

constexpr std::size_t keyring_line_capacity = 128;
// Writes the key's line, without a newline, zero-terminated; returns its length.
std::size_t format_keyring_line(const MasterKey& key, char (&out)[keyring_line_capacity]) noexcept;

// Derives a key for one purpose from a key: HMAC-SHA256(key, purpose). False when OpenSSL fails.
bool derive_subkey(const std::uint8_t (&key)[32], std::string_view purpose, std::uint8_t (&out)[32]) noexcept;

}  // namespace byoc
