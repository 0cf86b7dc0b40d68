// The database calls about sent messages, answered when the test says so.
#pragma once

#include "db/receipt_gateway.h"
#include "fake_gateway.h"

namespace byocd {

class FakeReceiptGateway final : public ReceiptGateway {
 public:
  bool ready() const override { return connected; }
  void receipt_key(DbCallback<SecretString> callback) override { keys.push_back({0, std::move(callback)}); }
  void open_receipts(const std::vector<std::string>& tokens,
                     DbCallback<std::vector<std::optional<ReceiptTarget>>> callback) override {
    opens.push_back({tokens, std::move(callback)});
  }
  void record_receipts(const std::vector<Receipt>& receipts, DbCallback<std::vector<std::size_t>> callback) override {
    records.push_back({receipts, std::move(callback)});
  }
  void expect_receipts(const std::vector<SentMessage>& messages, DbCallback<Done> callback) override {
    expectations.push_back({messages, std::move(callback)});
  }
  void claim_status_checks(int max_count, DbCallback<std::vector<StatusCheck>> callback) override {
    checks.push_back({max_count, std::move(callback)});
  }
  void inbound_credential(const std::string& id, DbCallback<std::optional<InboundCredential>> callback) override {
    inbound_credentials.push_back({id, std::move(callback)});
  }
  void record_inbound(const std::string& org_id, const std::string&, const InboundMessage& message,
                      DbCallback<std::optional<std::string>> callback) override {
    inbound.push_back({{org_id, message}, std::move(callback)});
  }
  void note_refusals(const std::vector<SentMessage>& messages, DbCallback<Done> callback) override {
    refusals.push_back({messages, std::move(callback)});
  }

  bool connected = true;
  std::deque<FakeCall<int, SecretString>> keys;
  std::deque<FakeCall<std::vector<std::string>, std::vector<std::optional<ReceiptTarget>>>> opens;
  std::deque<FakeCall<std::vector<Receipt>, std::vector<std::size_t>>> records;
  std::deque<FakeCall<std::vector<SentMessage>, Done>> expectations;
  std::deque<FakeCall<int, std::vector<StatusCheck>>> checks;
  std::deque<FakeCall<std::string, std::optional<InboundCredential>>> inbound_credentials;
  std::deque<FakeCall<std::pair<std::string, InboundMessage>, std::optional<std::string>>> inbound;
  std::deque<FakeCall<std::vector<SentMessage>, Done>> refusals;
};

}  // namespace byocd
