// An OAuthGateway whose answers tests give by hand.
#pragma once

#include <deque>
#include <string>
#include <utility>

#include "db/oauth_gateway.h"

namespace byocd {

class FakeOAuthGateway final : public OAuthGateway {
 public:
  struct Recorded {
    std::string id;
    bool revoked;
    DbCallback<Done> callback;
  };

  bool ready() const override { return is_ready; }
  void take_state(const std::string& state_hash, const std::string&,
                  DbCallback<std::optional<TakenState>> callback) override {
    taken.emplace_back(state_hash, std::move(callback));
  }
  void add_credential(const std::string&, const SecretString& refresh_token, const std::string& account,
                      DbCallback<std::string> callback) override {
    added.emplace_back(refresh_token.reveal() + " " + account, std::move(callback));
  }
  void claim_revocations(int, DbCallback<std::vector<Revocation>> callback) override {
    claims.push_back(std::move(callback));
  }
  void record_revocation(const std::string&, const std::string& id, bool revoked, DbCallback<Done> callback) override {
    records.push_back({id, revoked, std::move(callback)});
  }

  bool is_ready = true;
  std::deque<std::pair<std::string, DbCallback<std::optional<TakenState>>>> taken;
  std::deque<std::pair<std::string, DbCallback<std::string>>> added;
  std::deque<DbCallback<std::vector<Revocation>>> claims;
  std::deque<Recorded> records;
};

/// Takes the oldest of a queue.
template <class Queue>
auto take_first(Queue& queue) {
  auto first = std::move(queue.front());
  queue.pop_front();
  return first;
}

}  // namespace byocd
