// A TenantDatabase whose answers tests give by hand.
#pragma once

#include <deque>
#include <string>
#include <utility>

#include "db/tenant_database.h"

namespace byocd {

class FakeTenantDatabase final : public TenantDatabase {
 public:
  struct Call {
    std::string token;
    std::string statement;
    Params params;
    QueryCallback callback;
  };

  bool configured() const override { return true; }
  void run(const SecretString& token, const Statement& statement, Params params, QueryCallback callback) override {
    calls.push_back({token.reveal(), statement.name, std::move(params), std::move(callback)});
  }
  Call next() {
    Call call = std::move(calls.front());
    calls.pop_front();
    return call;
  }

  std::deque<Call> calls;
};

}  // namespace byocd
