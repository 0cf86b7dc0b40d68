// What goes between the database and what learns about messages: receipts, whom they are about, whom to ask about, and
// messages that came in.
#pragma once

#include <optional>
#include <string>

namespace byocd {

/// What a receipt token stands for, by the database's word.
struct ReceiptTarget {
  std::string org_id;
  std::string id;
  int attempt = 1;
  /// The credential whose secret signs callbacks about it; nothing when the organization has none any more.
  std::optional<std::string> credential_id;
  int credential_version = 0;
};

/// What a provider says about a message that it took.
struct ReceiptFacts {
  std::string provider_sid;
  /// The provider's word (`delivered`).
  std::string status;
  std::optional<std::string> error_code;
  std::optional<std::string> from_number;
  /// Seconds since 1970, when the provider says since when it is so.
  std::optional<double> at;
};

/// The same with the message, ready to be recorded.
struct Receipt {
  std::string org_id;
  std::string id;
  int attempt = 1;
  ReceiptFacts facts;
  /// Do not wait for the outcome of an attempt in flight.
  bool settle = false;
};

/// A message that a provider took.
struct SentMessage {
  std::string org_id;
  std::string id;
  /// The provider was told where to call back.
  bool called_back = false;
};

/// A message whose status is to be asked for.
struct StatusCheck {
  std::string org_id;
  std::string id;
  int attempt = 1;
  std::string provider_sid;
  std::string provider;
  std::string credential_id;
  int credential_version = 0;
};

/// Whose credential it is that a message came in for.
struct InboundCredential {
  std::string org_id;
  int version = 0;
};

/// A message that a recipient sent back.
struct InboundMessage {
  std::string provider_sid;
  std::string from_number;
  std::string to_number;
  std::string body;
  /// What the provider takes it for (Twilio's OptOutType: `STOP`, `START`, `HELP`).
  std::optional<std::string> provider_keyword;
};

}  // namespace byocd
