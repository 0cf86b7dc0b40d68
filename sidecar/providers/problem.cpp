#include "problem.h"

#include <fmt/format.h>

#include <algorithm>

namespace byocd {

namespace {

// ITU-T E.164: at most 15 digits, the first not 0. A North American number has ten digits after +1, the first not 0 or
// 1.
bool is_e164(std::string_view number) {
  const bool digits = number.size() >= 8 && number.size() <= 16 && number[0] == '+' && number[1] != '0' &&
                      std::all_of(number.begin() + 1, number.end(), [](char c) { return c >= '0' && c <= '9'; });
  return digits && (number[1] != '1' || (number.size() == 12 && number[2] >= '2'));
}

}  // namespace

std::optional<Problem> number_problem(std::string_view number, std::string_view whose) {
  if (number == "+1234567890")
    return Problem{"placeholder_number", fmt::format("{} is still the placeholder +1234567890, not a number.", whose),
                   "Give the real one, in the form +14155550100."};
  if (!is_e164(number))
    return Problem{"not_e164", fmt::format("{} is not in E.164 form.", whose),
                   "Write it with + and country code, without blanks: +14155550100."};
  return std::nullopt;
}

Problem failure_problem(const HttpFailure& failure, std::string_view provider) {
  using Reason = HttpFailure::Reason;
  const auto unreachable = [&](std::string code, std::string cause, std::string fix) {
    return Problem{std::move(code), fmt::format("{} could not be reached: {} ({}).", provider, cause, failure.message),
                   std::move(fix), true};
  };
  switch (failure.reason) {
    case Reason::name_not_found:
      return unreachable("dns", "its name does not resolve",
                         "Check this machine's DNS, and the provider's base URL if one is set.");
    case Reason::refused:
      return unreachable("connect_failed", "no connection was made",
                         "Check egress: firewall, proxy (https_proxy), and the provider's base URL if one is set.");
    case Reason::tls:
      return unreachable("tls", "TLS failed",
                         "Check that the CA certificates are installed and current (package ca-certificates), this "
                         "machine's clock, and whether a proxy intercepts TLS.");
    case Reason::timeout:
      return unreachable("timeout", "no answer in time", "Try again; check egress: firewall, proxy, routing.");
    case Reason::not_permitted:
      return {"address_not_permitted", fmt::format("The URL may not be called: {}.", failure.message),
              "Give an https:// address that the internet reaches, or ask who runs this server to permit its network."};
    case Reason::other:
      break;
  }
  return unreachable("connection_lost", "the connection broke", "Try again; check egress: firewall, proxy, routing.");
}

}  // namespace byocd
