#include "input.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <nlohmann/json.hpp>

#include "../json.h"
#include "../providers/twilio_fields.h"

namespace byocd {

namespace {

constexpr int most_tries = 3;
constexpr std::size_t longest_json = 16 << 10;

const TwilioField& field_of(const char* name) {
  return *find_twilio_field(name);
}

// Asks until the answer fits one of these fields, and keeps it as that field's. Answers its name.
Result<std::string, Problem> ask_for(const std::string& question, bool hidden, std::initializer_list<const char*> names,
                                     const Ask& ask, const Tell& tell, CredentialFields& fields) {
  for (int tries = 1;; ++tries) {
    auto answer = ask(question, hidden);
    if (!answer) return fail(Problem{"no_input", "The input ended.", "Nothing was stored: start again."});
    Problem problem;
    for (const char* name : names) {
      const bool is_number = std::string_view(name) == "phone_number";
      auto wrong =
          is_number ? number_problem(answer->reveal(), "This") : field_problem(field_of(name), "This", *answer);
      if (!wrong) {
        fields[name] = std::move(*answer);
        return std::string(name);
      }
      if (problem.cause.empty() || wrong->code == "placeholder_number") problem = std::move(*wrong);
    }
    if (tries == most_tries) return fail(problem);
    tell(problem.text());
  }
}

}  // namespace

Result<CredentialFields, Problem> ask_for_fields(const Ask& ask, const Tell& tell) {
  CredentialFields fields;
  const auto account = ask_for("Account SID (AC...)", false, {"account_sid"}, ask, tell, fields);
  if (!account) return fail(account.error());
  const auto secret = ask_for("Auth token, or API key SID (SK...); it is not shown", true,
                              {"auth_token", "api_key_sid"}, ask, tell, fields);
  if (!secret) return fail(secret.error());
  if (*secret == "api_key_sid") {
    const auto key = ask_for("API key secret; it is not shown", true, {"api_key_secret"}, ask, tell, fields);
    if (!key) return fail(key.error());
  }
  const auto sender = ask_for("Phone number to send from (+14155550100), or Messaging Service SID (MG...)", false,
                              {"phone_number", "messaging_service_sid"}, ask, tell, fields);
  if (!sender) return fail(sender.error());
  return fields;
}

Result<CredentialFields, Problem> read_fields_json(std::string_view text) {
  const auto wrong = [](std::string cause) {
    return Problem{"bad_fields", std::move(cause),
                   "Give one JSON object, as in {\"account_sid\": \"AC...\", \"auth_token\": \"...\", "
                   "\"phone_number\": \"+1...\"}."};
  };
  auto document = parse_json(text);
  if (!document.is_object()) return fail(wrong("The fields are not a JSON object."));
  CredentialFields fields;
  for (auto& [name, value] : document.items()) {
    const TwilioField* field = find_twilio_field(name);
    // A name that is none may be a value in the wrong place.
    if (!field) return fail(wrong("The fields have a name that is none of a Twilio credential's."));
    if (!value.is_string()) return fail(wrong(fmt::format("{} is not text.", field->name)));
    auto& held = value.get_ref<std::string&>();
    SecretString secret(held);
    OPENSSL_cleanse(held.data(), held.size());
    if (auto problem = field_problem(*field, field->name, secret)) return fail(std::move(*problem));
    fields.emplace(field->name, std::move(secret));
  }
  if (auto problem = incomplete_fields(fields, [](const TwilioField& field) { return field.name; }))
    return fail(std::move(*problem));
  return fields;
}

Result<CredentialFields, Problem> read_fields_from(int descriptor) {
  std::string buffer(longest_json, '\0');
  std::size_t length = 0;
  ssize_t got = 1;
  while (got > 0 && length < buffer.size()) {
    got = read(descriptor, buffer.data() + length, buffer.size() - length);
    if (got > 0) length += static_cast<std::size_t>(got);
  }
  const int reason = errno;
  auto fields = read_fields_json(std::string_view(buffer).substr(0, length));
  OPENSSL_cleanse(buffer.data(), length);
  if (got < 0)
    return fail(Problem{"no_input",
                        fmt::format("File descriptor {} cannot be read: {}.", descriptor, std::strerror(reason)),
                        "Open it for byocd, as in: byocd setup --fields-fd 3 3<fields.json."});
  return fields;
}

}  // namespace byocd
