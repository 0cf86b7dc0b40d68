#include "setup_gateway.h"

#include <fmt/format.h>

#include <iterator>

#include "database_problem.h"

namespace byocd {

namespace {

constexpr const char* admin_part = "byoc.grant_admin";
constexpr const char* current_credential =
    "SELECT c.id, k FROM byoc.credentials c CROSS JOIN LATERAL jsonb_object_keys(c.fields) AS k"
    " WHERE c.credential_type = 'twilio' AND c.is_default AND c.is_active";

// {"name": "value", ...}; null for the names of `removed` that have no value any more.
SecretString to_json(const CredentialFields& fields, const std::vector<std::string>& removed) {
  std::size_t room = 2;
  for (const auto& [name, value] : fields) room += name.size() + 6 * value.reveal().size() + 8;
  for (const auto& name : removed) room += name.size() + 10;
  std::string text;
  text.reserve(room);  // never grows, so that no copy of a secret is left behind
  const auto begin = [&](const std::string& name) {
    text.append(text.empty() ? "{\"" : ", \"").append(name).append("\": ");
  };
  for (const auto& [name, value] : fields) {
    begin(name);
    text += '"';
    for (const char c : value.reveal()) {
      if (c == '"' || c == '\\') text += '\\';
      if (static_cast<unsigned char>(c) < 0x20)
        fmt::format_to(std::back_inserter(text), "\\u{:04x}", static_cast<unsigned>(c));
      else
        text += c;
    }
    text += '"';
  }
  for (const auto& name : removed)
    if (fields.find(name) == fields.end()) {
      begin(name);
      text += "null";
    }
  SecretString json(text.append("}"));
  OPENSSL_cleanse(text.data(), text.size());
  return json;
}

}  // namespace

Result<std::string, Problem> SetupGateway::value(const char* sql,
                                                 const std::vector<std::optional<std::string>>& params) {
  const auto rows = session_.run(sql, params);
  if (!rows) return fail(database_problem(rows.error(), admin_part));
  return rows->count() == 0 || rows->is_null(0, 0) ? std::string() : std::string(rows->text(0, 0));
}

// Rolls back when `work` fails.
template <class T, class Work>
Result<T, Problem> SetupGateway::in_transaction(Work work) {
  if (auto begun = value("BEGIN"); !begun) return fail(std::move(begun.error()));
  Result<T, Problem> result = work();
  if (auto ended = value(result ? "COMMIT" : "ROLLBACK"); !ended && result) return fail(std::move(ended.error()));
  return result;
}

Result<Done, Problem> SetupGateway::act_for(Organization& organization) {
  if (token_.empty()) {
    const auto set = value("SELECT byoc.set_org($1::uuid, 'byocd setup', 'owner')", {organization.id});
    if (!set) return fail(set.error());
  } else {
    const auto proved = value("SELECT byoc.authenticate($1::text)", {token_.reveal()});
    if (!proved) return fail(proved.error());
    if (!organization.id.empty() && organization.id != *proved)
      return fail(Problem{"other_organization", fmt::format("The token is of organization {}.", *proved),
                          "Leave --org out, or use a token of that organization."});
    organization.id = *proved;
  }
  return Done{};
}

Result<SetupGateway::Organization, Problem> SetupGateway::find(const std::string& id) {
  return in_transaction<Organization>([&]() -> Result<Organization, Problem> {
    Organization organization;
    organization.id = id;
    if (const auto acting = act_for(organization); !acting) return fail(acting.error());
    const auto name =
        value("SELECT name FROM byoc.organizations WHERE id = $1::uuid AND shredded_at IS NULL", {organization.id});
    if (!name) return fail(name.error());
    if (name->empty())
      return fail(Problem{"no_organization",
                          fmt::format("Organization {} does not exist, or was shredded.", organization.id),
                          "byocd setup --create-org NAME makes a new one."});
    organization.name = *name;
    const auto credential = session_.run(current_credential);
    if (!credential) return fail(database_problem(credential.error(), admin_part));
    for (int row = 0; row < credential->count(); ++row) {
      organization.credential_id = credential->text(row, 0);
      organization.credential_fields.emplace_back(credential->text(row, 1));
    }
    return organization;
  });
}

Result<std::string, Problem> SetupGateway::store(Organization& organization, const std::optional<std::string>& name,
                                                 const CredentialFields& fields) {
  return in_transaction<std::string>([&]() -> Result<std::string, Problem> {
    if (name) {
      const auto created = value("SELECT byoc.create_organization($1::text)", {*name});
      if (!created) return created;
      organization.id = *created;
      organization.name = *name;
    }
    if (const auto acting = act_for(organization); !acting) return fail(acting.error());
    const SecretString json = to_json(fields, organization.credential_fields);
    if (organization.credential_id.empty())
      return value("SELECT byoc.add_credential('twilio', $1::text)", {json.reveal()});
    const auto updated =
        value("SELECT byoc.update_credential($1::uuid, $2::text)", {organization.credential_id, json.reveal()});
    if (!updated) return updated;
    return organization.credential_id;
  });
}

}  // namespace byocd
