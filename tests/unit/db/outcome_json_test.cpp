#include "db/outcome_json.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "support/jobs.h"

namespace byocd {
namespace {

using nlohmann::json;

JobOutcome made() {
  JobOutcome done;
  done.claim = make_claim("claim-1", {});
  done.org_id = "org-1";
  done.id = "message-1";
  done.attempt = 2;
  done.retry_delay = std::chrono::milliseconds(150);
  done.duration = std::chrono::milliseconds(31);
  return done;
}

TEST(OutcomeJson, WritesAnAcceptedMessage) {
  JobOutcome done = made();
  done.outcome.kind = OutcomeKind::accepted;
  done.outcome.provider_sid = "SM00000000000000000000000000000001";
  done.outcome.provider_status = "queued";
  done.outcome.segments = 2;
  EXPECT_EQ(json::parse(outcomes_to_json({done})), json::parse(R"([{
      "org_id": "org-1", "id": "message-1", "claim_id": "claim-1", "attempt": 2, "outcome": "accepted",
      "provider_sid": "SM00000000000000000000000000000001", "provider_status": "queued", "from_number": null,
      "segments": 2, "duration_ms": 31}])"));
}

TEST(OutcomeJson, WritesARejection) {
  JobOutcome done = made();
  done.outcome.kind = OutcomeKind::rejected;
  done.outcome.http_status = 400;
  done.outcome.error_code = "21211";
  EXPECT_EQ(json::parse(outcomes_to_json({done})), json::parse(R"([{
      "org_id": "org-1", "id": "message-1", "claim_id": "claim-1", "attempt": 2, "outcome": "rejected",
      "http_status": 400, "error_code": "21211", "error_message": null, "retry_ms": 150, "duration_ms": 31}])"));
}

TEST(OutcomeJson, WritesAnyTextAndAnyNumberOfOutcomes) {
  EXPECT_EQ(outcomes_to_json({}), "[]");
  const std::vector<std::pair<std::string, std::string>> texts{
      {"", ""},
      {"plain {text}, ~", "plain {text}, ~"},
      {"a \"quoted\" back\\slash", "a \"quoted\" back\\slash"},
      {"caf\xC3\xA9 \xF0\x9F\x94\xA5", "caf\xC3\xA9 \xF0\x9F\x94\xA5"},
      {"two\nlines\x7f", "two lines "},
      {"broken \xff byte", "broken \xEF\xBF\xBD byte"},
      {std::string(600, 'x'), std::string(500, 'x')},
  };
  std::vector<JobOutcome> outcomes;
  for (const auto& [given, stored] : texts) {
    outcomes.push_back(made());
    outcomes.back().outcome.kind = OutcomeKind::rejected;
    outcomes.back().outcome.error_message = given;
  }
  const json array = json::parse(outcomes_to_json(outcomes));
  ASSERT_EQ(array.size(), texts.size());
  for (std::size_t i = 0; i < texts.size(); ++i) EXPECT_EQ(array[i]["error_message"], texts[i].second);
}

TEST(OutcomeJson, MakesProvidersTextStorable) {
  EXPECT_EQ(storable_text(std::string("a\0b\nc\x7f", 6)), "a b c ");
  EXPECT_EQ(storable_text("caf\xC3\xA9", 4), "caf");
  EXPECT_EQ(storable_text("caf\xC3\xA9", 5), "caf\xC3\xA9");
}

}  // namespace
}  // namespace byocd
