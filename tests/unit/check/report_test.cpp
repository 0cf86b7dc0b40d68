#include "check/report.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace byocd {
namespace {

using State = CheckResult::State;

CheckResult passed() {
  CheckResult result{"account", "Account Verification"};
  result.details = {{"account", "Praxis Süß 😀"}, {"status", "active"}};
  return result;
}

CheckResult failed(bool unreachable = false) {
  CheckResult result{"number", "Phone Number Validation", State::failed};
  result.problem = {"some_code", "It is broken.", "Mend it.", unreachable};
  return result;
}

CheckResult skipped() {
  CheckResult result{"test_sms", "Send Test SMS", State::skipped};
  result.reason = "Phone Number Validation failed";
  return result;
}

TEST(CheckReport, ShowsDetailsInAColumn) {
  EXPECT_EQ(to_text(passed(), false), "✅ Account Verification\n   account    Praxis Süß 😀\n   status     active\n");
}

TEST(CheckReport, ShowsCauseAndFixOfAFailure) {
  EXPECT_EQ(to_text(failed(), false),
            "❌ Phone Number Validation\n   cause      It is broken.\n   fix        Mend it.\n");
}

TEST(CheckReport, ShowsWhyACheckWasSkipped) {
  EXPECT_EQ(to_text(skipped(), false), "➖ Send Test SMS\n   skipped    Phone Number Validation failed\n");
}

TEST(CheckReport, ColoursOnlyWhenAsked) {
  EXPECT_EQ(to_text(passed(), false).find('\x1b'), std::string::npos);
  EXPECT_NE(to_text(passed(), true).find("\x1b[1mAccount Verification\x1b[0m"), std::string::npos);
}

TEST(CheckReport, CountsSkippedChecksOnlyWhenThereAreSome) {
  EXPECT_EQ(total_line({passed(), passed(), passed(), passed()}), "Total: 4 passed, 0 failed");
  EXPECT_EQ(total_line({passed(), failed(), skipped(), skipped()}), "Total: 1 passed, 1 failed, 2 skipped");
}

TEST(CheckReport, ExitCodeTellsRefusalFromSilence) {
  EXPECT_EQ(exit_code({passed()}), 0);
  EXPECT_EQ(exit_code({passed(), failed(), skipped()}), 1);
  EXPECT_EQ(exit_code({passed(), failed(true), skipped()}), 3);
}

TEST(CheckReport, JsonHasTheSameNamesForEveryCheck) {
  const auto document = nlohmann::json::parse(to_json({"environment", "", "", "+15551000002"}, {passed(), failed()}));
  EXPECT_EQ(document["org_id"], nullptr);
  EXPECT_EQ(document["to"], "+15551000002");
  EXPECT_EQ(document["checks"][0]["details"]["account"], "Praxis Süß 😀");
  EXPECT_EQ(document["checks"][0]["cause"], nullptr);
  EXPECT_EQ(document["checks"][1]["code"], "some_code");
  EXPECT_EQ(document["exit_code"], 1);
}

TEST(Printable, KeepsTextOfAnyLanguage) {
  for (const char* text : {"", "plain", "Клиника", "診療所", "عيادة", "😀🇩🇪", "a\u00a0b"})
    EXPECT_EQ(printable(text), text);
}

TEST(Printable, HidesWhatSteersTheTerminal) {
  EXPECT_EQ(printable("a\x1b[2Jb\n\x7f"), "a\uFFFD[2Jb\uFFFD\uFFFD");
  EXPECT_EQ(printable("a\u009bb\u202eb\u2066\u200f\u2028"), "a\uFFFDb\uFFFDb\uFFFD\uFFFD\uFFFD");
}

TEST(Printable, HidesWhatIsNoUtf8) {
  EXPECT_EQ(printable("a\xff\xc3"), "a\uFFFD\uFFFD");
  EXPECT_EQ(printable("\xc0\xaf"), "\uFFFD\uFFFD");
  EXPECT_EQ(printable("\xed\xa0\x80"), "\uFFFD\uFFFD\uFFFD");
  EXPECT_EQ(printable("\xf0\x9f\x98"), "\uFFFD\uFFFD\uFFFD");
  EXPECT_EQ(printable("\xe2\x82"), "\uFFFD\uFFFD");
}

}  // namespace
}  // namespace byocd
