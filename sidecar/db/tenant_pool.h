// TenantDatabase on a few connections of its own, so that neither a slow statement nor many requests delay a dispatch.
#pragma once

#include <deque>
#include <memory>
#include <vector>

#include "handshake.h"
#include "tenant_database.h"

namespace byocd {

class TenantPool final : public TenantDatabase {
 public:
  struct Options {
    Database database;
    /// The role that requests run as; empty: none, and no connection is made.
    std::string role;
    int connections = 4;
  };

  TenantPool(Loop& loop, const Options& options);
  ~TenantPool() override;

  void open();
  void close();

  bool configured() const override { return !sessions_.empty(); }
  void run(const SecretString& token, const Statement& statement, Params params, QueryCallback callback) override;

 private:
  struct Request {
    SecretString token;
    Statement statement;
    Params params;
    QueryCallback callback;
    Clock::time_point since;
  };
  struct Session {
    Session(Loop& loop, const Options& options, int number);
    Connection connection;
    Handshake handshake;
    bool busy = false;
  };

  void serve();
  void start(Session& session, Request request);
  void refuse_later(QueryCallback callback);
  Session* free_session();
  bool any_ready() const;

  Loop& loop_;
  std::vector<std::unique_ptr<Session>> sessions_;
  std::deque<Request> waiting_;
  std::unique_ptr<Timer> refused_timer_;
  std::vector<QueryCallback> refused_;
};

}  // namespace byocd
