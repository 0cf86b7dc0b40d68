// An array in PostgreSQL's binary format (array_recv): what a parameter costs the server least as.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace byocd {

/// One dimension, of one element type. Elements are added in their order; nothing stands for NULL.
class ArrayParam {
 public:
  enum class Element : std::uint32_t {
    boolean = 16,
    int2 = 21,
    int4 = 23,
    text = 25,
    uuid = 2950
  };  // OIDs, the same everywhere

  explicit ArrayParam(Element element);

  void add_boolean(bool value);
  /// In its 36 characters; anything else becomes NULL.
  void add_uuid(std::string_view text);
  /// Must be valid UTF-8 without zero bytes.
  void add_text(const std::optional<std::string>& text);
  /// NULL when an int2 cannot hold it.
  void add_int2(std::optional<int> number);
  void add_int4(std::int32_t number);

  /// The parameter. The array is used up by it.
  std::string take();

 private:
  void add_null();
  void add(const void* bytes, std::size_t size);

  std::string bytes_;
  std::int32_t count_ = 0;
  bool has_null_ = false;
};

}  // namespace byocd
