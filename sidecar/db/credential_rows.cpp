#include "credential_rows.h"

#include <nlohmann/json.hpp>

#include "../json.h"

namespace byocd {

namespace {

// {"name": "value", ...}; a field that is not text (null) counts as absent. The parser's copies are wiped.
CredentialFields read_fields(std::string_view text) {
  CredentialFields fields;
  auto document = parse_json(text);
  if (!document.is_object()) return fields;
  for (auto& [name, value] : document.items()) {
    if (!value.is_string()) continue;
    auto& held = value.get_ref<std::string&>();
    fields.emplace(name, SecretString(held));
    OPENSSL_cleanse(held.data(), held.size());
  }
  return fields;
}

}  // namespace

std::vector<OpenedCredential> read_credentials(Rows& rows) {
  std::vector<OpenedCredential> credentials;
  for (int row = 0; row < rows.count(); ++row) {
    OpenedCredential credential;
    credential.org_id = rows.text(row, 0);
    credential.id = rows.text(row, 1);
    credential.provider = rows.text(row, 2);
    credential.version = rows.integer(row, 3);
    if (!rows.is_null(row, 4)) credential.fields = read_fields(rows.text(row, 4));
    if (!rows.is_null(row, 5)) credential.error = std::string(rows.text(row, 5));
    credentials.push_back(std::move(credential));
  }
  rows.cleanse();
  return credentials;
}

}  // namespace byocd
