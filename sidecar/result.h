// Result<T, E>: the sidecar's way to report a failure without an exception.
// Exceptions are for start-up only.
#pragma once

#include <utility>
#include <variant>

namespace byocd {

/// Wraps an error so that `return fail(error);` converts to any Result with that error type.
template <class E>
struct Failure {
  E error;
};

/// Makes the failing value of a Result.
template <class E>
Failure<E> fail(E error) {
  return Failure<E>{std::move(error)};
}

/// The value of a call that takes nothing back.
struct Done {};

/// Either a value or an error; asking for the one that is absent is a programming error (it throws
/// std::bad_variant_access, which ends the process).
template <class T, class E>
class [[nodiscard]] Result {
 public:
  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}                     // NOLINT
  Result(Failure<E> failure) : state_(std::in_place_index<1>, std::move(failure.error)) {}  // NOLINT

  bool ok() const { return state_.index() == 0; }
  explicit operator bool() const { return ok(); }

  T& value() { return std::get<0>(state_); }
  const T& value() const { return std::get<0>(state_); }
  T& operator*() { return value(); }
  const T& operator*() const { return value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }

  E& error() { return std::get<1>(state_); }
  const E& error() const { return std::get<1>(state_); }

 private:
  std::variant<T, E> state_;
};

}  // namespace byocd
