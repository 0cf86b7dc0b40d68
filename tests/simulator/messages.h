/// The messages that were accepted, and the lists read from them.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "dates.h"
#include "delivery.h"
#include "sid.h"

namespace simulator {

struct message {
  message_sids::sid sid;
  std::uint32_t account = 0;  // index into the store's account SIDs
  std::uint16_t segments = 1;
  bool with_service = false;
  std::string to;
  std::string from;  // with a Messaging Service, the number that it picked; hidden until the message is queued
  std::string body;
  std::string messaging_service_sid;
  std::string status_callback;
  timestamp received{};
  course moves;
  // Chains from the newest message back to the oldest, by serial: lists come newest first, and no index has to be
  // rebuilt.
  std::optional<std::uint64_t> previous_to;       // same account and recipient
  std::optional<std::uint64_t> previous_account;  // same account

  std::string_view sid_text() const { return {sid.data(), sid.size()}; }
};

/// What a message looks like at one moment.
struct message_state {
  message_status status;
  timestamp updated;
  std::optional<timestamp> sent;
  int error_code;        // 0 for none
  bool sender_is_known;  // false while a Messaging Service has not picked one
};
message_state state_at(const message& subject, timestamp when);

/// Which messages of an account a list holds. Empty text matches all.
struct message_filter {
  std::string to{};
  std::string from{};
  std::optional<timestamp> sent_from{};      // inclusive
  std::optional<timestamp> sent_until{};     // exclusive
  bool sent_only = false;                    // with sent_from or sent_until: nothing that was not sent yet
  std::optional<timestamp> created_until{};  // inclusive
};

/// Which part of a list is asked for. Both anchors are message SIDs of a previous page and win over `page`.
struct page_request {
  std::size_t page = 0;
  std::size_t page_size = 50;
  std::string after{};   // only what follows this message in the list
  std::string before{};  // only the page that ends right before this message
};

struct message_page {
  std::vector<const message*> messages;  // newest first
  bool has_more = false;
};

class message_store {
 public:
  message_store();

  /// Stores a message of `account_sid`; fills sid, account and chains. The reference stays valid until clear().
  const message& add(std::string_view account_sid, message value);

  /// By SID; nullptr when there is none, or it belongs to another account.
  const message* find(std::string_view account_sid, std::string_view sid) const;

  /// By serial, as given to callbacks; nullptr after clear().
  const message* find(std::uint64_t serial) const;

  /// The newest-first list of `account_sid`. Takes time by the recipient's messages when `filter.to` is set, else by
  /// the account's. Nothing when an anchor is not in the account.
  std::optional<message_page> list(std::string_view account_sid, const message_filter& filter, const page_request& page,
                                   timestamp when) const;

  const std::string& account_sid(const message& subject) const { return account_sids_[subject.account]; }
  std::uint64_t serial(std::size_t index) const { return first_serial_ + index; }
  std::size_t size() const { return messages_.size(); }
  const message& operator[](std::size_t index) const { return messages_[index]; }

  /// Forgets all messages. SIDs and serials are never given twice.
  void clear();

 private:
  struct recipient {
    std::uint32_t account;
    std::string_view to;  // views the message's own text
    bool operator==(const recipient&) const = default;
  };
  struct recipient_hash {
    std::size_t operator()(const recipient& key) const {
      return std::hash<std::string_view>{}(key.to) * 31 + key.account;
    }
  };

  std::uint32_t account_index(std::string_view account_sid);
  void reserve();

  message_sids sids_;
  std::deque<message> messages_;
  std::uint64_t first_serial_ = 0;
  std::vector<std::string> account_sids_;
  std::unordered_map<std::string, std::uint32_t> account_indexes_;
  std::unordered_map<recipient, std::uint64_t, recipient_hash> newest_to_;
  std::vector<std::optional<std::uint64_t>> newest_in_account_;
};

}  // namespace simulator
