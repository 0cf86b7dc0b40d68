#include "twilio_fields.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>

namespace byocd {

namespace {

bool all_hexadecimal(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](unsigned char c) { return std::isxdigit(c) != 0; });
}

template <char first, char second>
bool is_sid(std::string_view value) {
  return value.size() == 34 && value[0] == first && value[1] == second && all_hexadecimal(value.substr(2));
}

bool is_secret(std::string_view value) {
  return value.size() == 32 &&
         std::all_of(value.begin(), value.end(), [](unsigned char c) { return std::isalnum(c) != 0; });
}

// A part of a host name.
bool is_label(std::string_view value) {
  return !value.empty() && value.size() <= 32 && std::all_of(value.begin(), value.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
  });
}

}  // namespace

const std::vector<TwilioField>& twilio_fields() {
  static const std::vector<TwilioField> all{
      {"account_sid", "TWILIO_ACCOUNT_SID", "AC followed by 32 hexadecimal digits", is_sid<'A', 'C'>},
      {"auth_token", "TWILIO_AUTH_TOKEN", "32 letters and digits", is_secret},
      {"api_key_sid", "TWILIO_API_KEY", "SK followed by 32 hexadecimal digits", is_sid<'S', 'K'>},
      {"api_key_secret", "TWILIO_API_SECRET", "32 letters and digits", is_secret},
      {"phone_number", "TWILIO_PHONE_NUMBER", "an E.164 number such as +14155550100", nullptr},
      {"messaging_service_sid", "TWILIO_MESSAGING_SERVICE_SID", "MG followed by 32 hexadecimal digits",
       is_sid<'M', 'G'>},
      {"region", "TWILIO_REGION", "a Twilio region such as ie1", is_label},
      {"edge", "TWILIO_EDGE", "a Twilio edge location such as dublin", is_label},
  };
  return all;
}

const TwilioField* find_twilio_field(std::string_view name) {
  const auto& all = twilio_fields();
  const auto found = std::find_if(all.begin(), all.end(), [&](const TwilioField& field) { return name == field.name; });
  return found == all.end() ? nullptr : &*found;
}

std::optional<Problem> field_problem(const TwilioField& field, std::string_view called, const SecretString& value) {
  if (!field.is_well_formed || field.is_well_formed(value.reveal())) return std::nullopt;
  return Problem{"malformed", fmt::format("{} is not {}.", called, field.must_be),
                 "Copy it again from the Twilio console, without blanks or quotes."};
}

std::optional<Problem> incomplete_fields(const CredentialFields& fields, const FieldNames& called) {
  const auto has = [&](const char* name) { return find_field(fields, name) != nullptr; };
  const auto missing = [&](const char* name) {
    return Problem{"incomplete", fmt::format("{} is not set.", called(*find_twilio_field(name))), "Give it too."};
  };
  if (!has("account_sid")) return missing("account_sid");
  if (has("api_key_sid") != has("api_key_secret"))
    return missing(has("api_key_sid") ? "api_key_secret" : "api_key_sid");
  if (!has("auth_token") && !has("api_key_sid")) return missing("auth_token");
  if (!has("phone_number") && !has("messaging_service_sid")) return missing("phone_number");
  return std::nullopt;
}

}  // namespace byocd
