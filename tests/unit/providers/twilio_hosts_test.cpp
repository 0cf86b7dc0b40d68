#include "providers/twilio_hosts.h"

#include <gtest/gtest.h>

#include "support/jobs.h"

namespace byocd {
namespace {

std::string url(const CredentialFields& fields, std::string_view product = "api",
                const std::string& base = "https://api.twilio.com") {
  const auto made = twilio_url(base, product, fields);
  return made ? *made : made.error().code;
}

TEST(TwilioHosts, AreNamedAsTwiliosOwnLibrariesDo) {
  EXPECT_EQ(url({}), "https://api.twilio.com");
  EXPECT_EQ(url(make_fields({{"region", "ie1"}})), "https://api.ie1.twilio.com");
  EXPECT_EQ(url(make_fields({{"edge", "dublin"}, {"region", "ie1"}})), "https://api.dublin.ie1.twilio.com");
  EXPECT_EQ(url(make_fields({{"edge", "sao-paulo"}})), "https://api.sao-paulo.us1.twilio.com");
  EXPECT_EQ(url({}, "messaging"), "https://messaging.twilio.com");
  EXPECT_EQ(url(make_fields({{"edge", "dublin"}, {"region", "ie1"}}), "messaging"),
            "https://messaging.dublin.ie1.twilio.com");
}

TEST(TwilioHosts, ABaseUrlOfOnesOwnStandsForAllOfThem) {
  const auto dublin = make_fields({{"edge", "dublin"}, {"region", "ie1"}});
  EXPECT_EQ(url(dublin, "messaging", "http://127.0.0.1:4711"), "http://127.0.0.1:4711");
  EXPECT_EQ(url(dublin, "api", "https://proxy.example/api."), "https://proxy.example/api.");
  EXPECT_EQ(url(dublin, "api", "http://api.localhost:4711"), "http://api.dublin.ie1.localhost:4711");
}

TEST(TwilioHosts, NeverLeadToAnotherDomain) {
  for (const char* bad : {"evil.example/", "a.b", "a@b", "a:1", "a/b", "a?", "a#", "A", "a b", "a\n", "ä", "%61"}) {
    EXPECT_EQ(url(make_fields({{"edge", bad}})), "credential_incomplete") << bad;
    EXPECT_EQ(url(make_fields({{"region", bad}}), "messaging"), "credential_incomplete") << bad;
  }
  EXPECT_EQ(url(make_fields({{"edge", std::string(64, 'a').c_str()}})), "credential_incomplete");
}

}  // namespace
}  // namespace byocd
