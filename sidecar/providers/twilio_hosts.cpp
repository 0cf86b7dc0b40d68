#include "twilio_hosts.h"

#include <algorithm>

namespace byocd {

namespace {

constexpr std::string_view default_region = "us1";
constexpr std::string_view api_host = "://api.";

// The database checks these fields too; here nothing may become a part of a host that is not one label.
bool is_host_label(std::string_view text) {
  return !text.empty() && text.size() <= 63 && std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
  });
}

}  // namespace

Result<std::string, PrepareError> twilio_url(const std::string& base_url, std::string_view product,
                                             const CredentialFields& credential) {
  const auto host = base_url.find(api_host);
  if (host == std::string::npos) return base_url;
  const SecretString* edge = find_field(credential, "edge");
  const SecretString* region = find_field(credential, "region");
  std::string url = base_url.substr(0, host + 3);
  url += product;
  for (const SecretString* label : {edge, region}) {
    if (!label) continue;
    if (!is_host_label(label->reveal()))
      return fail(PrepareError{"credential_incomplete", "the credential's edge or region is not the name of one"});
    url += '.';
    url += label->reveal();
  }
  if (edge && !region) url.append(".").append(default_region);
  return url + base_url.substr(host + api_host.size() - 1);
}

}  // namespace byocd
