/// Reads the JSON that the control API takes. Every complaint is a sentence that names the field.
#pragma once

#include <cstdint>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace simulator {

/// Input that is refused; what() is the sentence for the 400 answer. Thrown and caught within the control API only.
class input_error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// Parses a request body; throws input_error when it is not JSON.
nlohmann::json parse_json(std::string_view body);

/// The fields of one object. Each is asked for by name; `finish` then refuses what nobody asked for, so that a typing
/// error cannot pass for a default.
class json_fields {
 public:
  /// `where` names the object in complaints, `accounts[0]` say; empty for the document itself.
  json_fields(const nlohmann::json& object, std::string where);

  std::string required_string(const char* name);
  std::optional<std::string> string(const char* name);
  std::optional<bool> boolean(const char* name);
  std::optional<std::uint32_t> whole(const char* name, std::uint32_t largest = 1'000'000'000);
  std::optional<std::uint64_t> whole64(const char* name);
  std::optional<double> probability(const char* name);

  /// One of `choices`, which the complaint lists.
  std::optional<std::string> choice(const char* name, const std::vector<std::string_view>& choices);

  bool has(const char* name) const { return object_.contains(name); }

  /// Whether the field is there and null.
  bool is_null(const char* name);

  /// An array of strings; empty when absent.
  std::vector<std::string> strings(const char* name);

  /// Calls `each` with every element of an array of objects (and its place, for complaints). Returns whether the field
  /// is there.
  bool objects(const char* name, const std::function<void(json_fields)>& each);

  /// Calls `inner` with an object. Returns whether the field is there.
  bool object(const char* name, const std::function<void(json_fields)>& inner);

  /// Calls `each` with every name and object of an object that is used as a dictionary.
  void dictionary(const char* name, const std::function<void(const std::string&, json_fields)>& each);

  /// Throws unless all fields were asked for.
  void finish() const;

  /// Throws: "field `name` must ...".
  [[noreturn]] void complain(std::string_view name, std::string_view must) const;

 private:
  const nlohmann::json* take(const char* name);
  std::string path(std::string_view name) const;

  const nlohmann::json& object_;
  std::string where_;
  std::set<std::string, std::less<>> asked_;
};

}  // namespace simulator
