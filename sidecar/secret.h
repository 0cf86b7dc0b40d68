// SecretString: text that is wiped from memory when its owner lets go of it.
#pragma once

#include <openssl/crypto.h>

#include <string>
#include <string_view>
#include <utility>

namespace byocd {

/// Holds a secret in memory. Copies are not made by accident: `copy()` says it. The buffer is
/// cleansed on destruction, on assignment and after a move (short strings move by copying).
class SecretString {
 public:
  SecretString() = default;
  explicit SecretString(std::string_view text) : text_(text) {}
  SecretString(SecretString&& other) noexcept : text_(std::move(other.text_)) { other.wipe(); }
  SecretString& operator=(SecretString&& other) noexcept {
    if (this != &other) {
      wipe();
      text_.swap(other.text_);
    }
    return *this;
  }
  SecretString(const SecretString&) = delete;
  SecretString& operator=(const SecretString&) = delete;
  ~SecretString() { wipe(); }

  SecretString copy() const { return SecretString(text_); }
  bool empty() const { return text_.empty(); }
  /// The secret itself, for the one place that must hand it to a library.
  const std::string& reveal() const { return text_; }

 private:
  void wipe() {
    // The whole capacity: a moved-from or shortened string may leave bytes behind its end.
    OPENSSL_cleanse(text_.data(), text_.capacity());
    text_.clear();
  }

  std::string text_;
};

}  // namespace byocd
