#include "keyring.h"

#include "base64.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>

#include <cstdio>
#include <cstring>

namespace byoc {
namespace {

constexpr std::size_t check_digits = 8;

bool is_id(std::string_view id) noexcept {
  if (id.empty() || id.size() > key_id_capacity) return false;
  for (char c : id) {
    if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-')) return false;
  }
  return true;
}

bool is_date(std::string_view date) noexcept {
  if (date.size() != 10) return false;
  for (std::size_t i = 0; i < date.size(); ++i) {
    const bool good = i == 4 || i == 7 ? date[i] == '-' : date[i] >= '0' && date[i] <= '9';
    if (!good) return false;
  }
  return true;
}

void write_check(const MasterKey& key, char (&out)[check_digits + 1]) noexcept {
  std::uint8_t input[key_id_capacity + 1 + master_key_size];
  const std::size_t id_size = std::strlen(key.id) + 1;  // with the zero
  std::memcpy(input, key.id, id_size);
  std::memcpy(input + id_size, key.bytes, master_key_size);
  std::uint8_t digest[EVP_MAX_MD_SIZE] = {};
  EVP_Digest(input, id_size + master_key_size, digest, nullptr, EVP_sha256(), nullptr);
  for (std::size_t i = 0; i < check_digits / 2; ++i) std::snprintf(out + 2 * i, 3, "%02x", digest[i]);
  OPENSSL_cleanse(input, sizeof input);
}

// Takes the next word off `line`; empty at its end.
std::string_view next_word(std::string_view& line) noexcept {
  const auto begin = line.find_first_not_of(" \t");
  if (begin == std::string_view::npos) return line = {};
  const auto end = line.find_first_of(" \t", begin);
  const auto word = line.substr(begin, end == std::string_view::npos ? end : end - begin);
  line = end == std::string_view::npos ? std::string_view{} : line.substr(end);
  return word;
}

KeyringError parse_line(std::string_view line, MasterKey& key) noexcept {
  const auto id = next_word(line);
  const auto state = next_word(line);
  const auto created = next_word(line);
  const auto encoded = next_word(line);
  const auto check = next_word(line);
  if (check.empty() || !next_word(line).empty()) return KeyringError::malformed_line;
  if (!is_id(id)) return KeyringError::bad_id;
  if (state != "active" && state != "retired") return KeyringError::bad_state;
  if (!is_date(created)) return KeyringError::bad_date;
  std::memcpy(key.id, id.data(), id.size());
  key.id[id.size()] = '\0';
  std::memcpy(key.created, created.data(), created.size());
  key.created[created.size()] = '\0';
  key.active = state == "active";
  if (!base64_decode_exact(encoded, key.bytes, master_key_size)) return KeyringError::bad_key;
  char expected[check_digits + 1];
  write_check(key, expected);
  if (check != expected) return KeyringError::damaged;
  bool all_equal = true;
  for (std::uint8_t byte : key.bytes) all_equal = all_equal && byte == key.bytes[0];
  return all_equal ? KeyringError::weak_key : KeyringError::none;
}

KeyringProblem parse(std::string_view text, Keyring& ring) noexcept {
  if (text.size() > keyring_file_limit) return {KeyringError::too_large, 0};
  int line_number = 0;
  int active_keys = 0;
  while (!text.empty()) {
    ++line_number;
    const auto end = text.find('\n');
    auto line = text.substr(0, end);
    text = end == std::string_view::npos ? std::string_view{} : text.substr(end + 1);
    if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
    const auto begin = line.find_first_not_of(" \t");
    if (begin == std::string_view::npos || line[begin] == '#') continue;
    if (ring.count == keyring_capacity) return {KeyringError::too_many_keys, line_number};
    MasterKey& key = ring.keys[ring.count];
    const auto error = parse_line(line, key);
    if (error != KeyringError::none) return {error, line_number};
    if (ring.find(key.id) != nullptr) return {KeyringError::duplicate_id, line_number};
    ++ring.count;
    if (key.active && ++active_keys > 1) return {KeyringError::several_active_keys, line_number};
  }
  if (ring.count == 0) return {KeyringError::empty, 0};
  if (active_keys == 0) return {KeyringError::no_active_key, 0};
  return {};
}

}  // namespace

const MasterKey* Keyring::active() const noexcept {
  for (std::uint32_t i = 0; i < count; ++i) {
    if (keys[i].active) return &keys[i];
  }
  return nullptr;
}

const MasterKey* Keyring::find(std::string_view id) const noexcept {
  for (std::uint32_t i = 0; i < count; ++i) {
    if (id == keys[i].id) return &keys[i];
  }
  return nullptr;
}

void cleanse(Keyring& ring) noexcept {
  OPENSSL_cleanse(&ring, sizeof ring);
}

KeyringProblem parse_keyring(std::string_view text, Keyring& ring) noexcept {
  cleanse(ring);
  const auto problem = parse(text, ring);
  if (problem.error != KeyringError::none) cleanse(ring);
  return problem;
}

const char* describe(KeyringError error) noexcept {
  switch (error) {
    case KeyringError::none:
      return "no problem";
    case KeyringError::empty:
      return "it holds no key; make one with: byocd keyring generate";
    case KeyringError::too_large:
      return "it is larger than 64 kB, so it is not a key ring";
    case KeyringError::too_many_keys:
      return "it holds more than 16 keys; remove retired ones";
    case KeyringError::malformed_line:
      return "a line is not: id state created key check";
    case KeyringError::bad_id:
      return "a key id is not 1 to 16 of a-z, 0-9 and -";
    case KeyringError::bad_state:
      return "a key's state is neither active nor retired";
    case KeyringError::bad_date:
      return "a key's date is not YYYY-MM-DD";
    case KeyringError::bad_key:
      return "a key is not 32 bytes in base64";
    case KeyringError::damaged:
      return "a key is damaged: its check digits do not match; restore the file from its copy";
    case KeyringError::weak_key:
      return "a key is one byte repeated; make a random one with: byocd keyring generate";
    case KeyringError::duplicate_id:
      return "two keys have the same id";
    case KeyringError::no_active_key:
      return "no key is active; exactly one must be";
    case KeyringError::several_active_keys:
      return "more than one key is active; exactly one must be";
  }
  return "unknown problem";
}

bool generate_master_key(std::string_view created, MasterKey& key) noexcept {
  std::uint8_t id[4];
  if (!is_date(created) || RAND_bytes(id, sizeof id) != 1 || RAND_priv_bytes(key.bytes, master_key_size) != 1) {
    return false;
  }
  std::snprintf(key.id, sizeof key.id, "k-%02x%02x%02x%02x", id[0], id[1], id[2], id[3]);
  std::memcpy(key.created, created.data(), created.size());
  key.created[created.size()] = '\0';
  key.active = true;
  return true;
}

std::size_t format_keyring_line(const MasterKey& key, char (&out)[keyring_line_capacity]) noexcept {
  char encoded[base64_length(master_key_size) + 1];
  base64_encode(key.bytes, master_key_size, encoded);
  char check[check_digits + 1];
  write_check(key, check);
  const int length = std::snprintf(out, sizeof out, "%s %s %s %s %s", key.id, key.active ? "active" : "retired",
                                   key.created, encoded, check);
  OPENSSL_cleanse(encoded, sizeof encoded);
  return static_cast<std::size_t>(length);
}

bool derive_subkey(const std::uint8_t (&key)[32], std::string_view purpose, std::uint8_t (&out)[32]) noexcept {
  unsigned int size = 0;
  const auto* done = HMAC(EVP_sha256(), key, sizeof key, reinterpret_cast<const unsigned char*>(purpose.data()),
                          purpose.size(), out, &size);
  return done != nullptr && size == sizeof out;
}

}  // namespace byoc
