#include "array_param.h"

#include <arpa/inet.h>

#include <cstring>
#include <limits>
#include <utility>

#include "../uuid.h"

namespace byocd {

namespace {

// What stands before the elements: dimensions, whether there are NULLs, element type, length, first index.
struct Header {
  std::uint32_t dimensions;
  std::uint32_t has_null;
  std::uint32_t element;
  std::uint32_t length;
  std::uint32_t first;
};

constexpr std::uint32_t null_length = 0xffffffff;

}  // namespace

ArrayParam::ArrayParam(Element element) {
  const Header header{0, 0, htonl(static_cast<std::uint32_t>(element)), 0, htonl(1)};
  bytes_.assign(reinterpret_cast<const char*>(&header), sizeof header);
}

void ArrayParam::add_boolean(bool value) {
  add(value ? "\1" : "\0", 1);
}

void ArrayParam::add_uuid(std::string_view text) {
  std::uint8_t bytes[16];
  uuid_bytes(text, bytes) ? add(bytes, sizeof bytes) : add_null();
}

void ArrayParam::add_text(const std::optional<std::string>& text) {
  text ? add(text->data(), text->size()) : add_null();
}

void ArrayParam::add_int2(std::optional<int> number) {
  using Limits = std::numeric_limits<std::int16_t>;
  if (!number || *number < Limits::min() || *number > Limits::max()) return add_null();
  const std::uint16_t bytes = htons(static_cast<std::uint16_t>(*number));
  add(&bytes, sizeof bytes);
}

void ArrayParam::add_int4(std::int32_t number) {
  const std::uint32_t bytes = htonl(static_cast<std::uint32_t>(number));
  add(&bytes, sizeof bytes);
}

std::string ArrayParam::take() {
  Header header;
  std::memcpy(&header, bytes_.data(), sizeof header);
  header.dimensions = htonl(count_ > 0 ? 1 : 0);
  header.has_null = htonl(has_null_ ? 1 : 0);
  header.length = htonl(static_cast<std::uint32_t>(count_));
  std::memcpy(bytes_.data(), &header, sizeof header);
  // An array without elements has no dimension, and ends behind its type.
  if (count_ == 0) bytes_.resize(offsetof(Header, length));
  return std::move(bytes_);
}

void ArrayParam::add_null() {
  bytes_.append(reinterpret_cast<const char*>(&null_length), sizeof null_length);
  has_null_ = true;
  ++count_;
}

void ArrayParam::add(const void* bytes, std::size_t size) {
  const std::uint32_t length = htonl(static_cast<std::uint32_t>(size));
  bytes_.append(reinterpret_cast<const char*>(&length), sizeof length);
  bytes_.append(static_cast<const char*>(bytes), size);
  ++count_;
}

}  // namespace byocd
