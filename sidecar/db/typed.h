// A typed callback made out of an untyped one.
#pragma once

#include <utility>

#include "connection.h"
#include "gateway.h"

namespace byocd {

/// `read` makes the answer of the rows.
template <class T, class Read>
QueryCallback typed(DbCallback<T> callback, Read read) {
  return [callback = std::move(callback), read = std::move(read)](QueryResult result) mutable {
    if (!result)
      callback(fail(std::move(result.error())));
    else
      callback(read(*result));
  };
}

}  // namespace byocd
