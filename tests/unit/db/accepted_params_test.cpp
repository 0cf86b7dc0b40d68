#include "db/accepted_params.h"

#include <gtest/gtest.h>

#include "db/array_param.h"
#include "support/hex.h"
#include "support/jobs.h"

namespace byocd {
namespace {

const std::string uuid = "01234567-89ab-cdef-0123-456789abcdef";

JobOutcome accepted() {
  JobOutcome done;
  done.claim = make_claim(uuid, {});
  done.org_id = uuid;
  done.id = uuid;
  done.outcome.kind = OutcomeKind::accepted;
  done.outcome.provider_sid = "SM00000000000000000000000000000001";
  return done;
}

// As array_send writes it: dimensions, NULLs, type, length, first index; then length and bytes of each element.
TEST(ArrayParam, WritesWhatTheServerReads) {
  ArrayParam numbers(ArrayParam::Element::int2);
  numbers.add_int2(7);
  numbers.add_int2(std::nullopt);
  numbers.add_int2(-2);
  EXPECT_EQ(numbers.take(), byoc::unhex("00000001"
                                        "00000001"
                                        "00000015"
                                        "00000003"
                                        "00000001"
                                        "00000002"
                                        "0007"
                                        "ffffffff"
                                        "00000002"
                                        "fffe"));
  ArrayParam ids(ArrayParam::Element::uuid);
  ids.add_uuid(uuid);
  EXPECT_EQ(ids.take(), byoc::unhex("00000001"
                                    "00000000"
                                    "00000b86"
                                    "00000001"
                                    "00000001"
                                    "00000010"
                                    "0123456789abcdef0123456789abcdef"));
  ArrayParam answers(ArrayParam::Element::boolean);
  answers.add_boolean(true);
  answers.add_boolean(false);
  EXPECT_EQ(answers.take().substr(20), byoc::unhex("00000001"
                                                   "01"
                                                   "00000001"
                                                   "00"));
  ArrayParam texts(ArrayParam::Element::text);
  texts.add_text("hi");
  texts.add_text("");
  EXPECT_EQ(texts.take(), byoc::unhex("00000001"
                                      "00000000"
                                      "00000019"
                                      "00000002"
                                      "00000001"
                                      "00000002"
                                      "6869"
                                      "00000000"));
}

TEST(ArrayParam, AnEmptyOneHasNoDimension) {
  EXPECT_EQ(ArrayParam(ArrayParam::Element::int4).take(), byoc::unhex("00000000"
                                                                      "00000000"
                                                                      "00000017"));
}

TEST(ArrayParam, WhatDoesNotFitIsNull) {
  ArrayParam numbers(ArrayParam::Element::int2);
  numbers.add_int2(40'000);
  EXPECT_EQ(numbers.take().substr(20), byoc::unhex("ffffffff"));
  ArrayParam ids(ArrayParam::Element::uuid);
  ids.add_uuid("none");
  EXPECT_EQ(ids.take().substr(20), byoc::unhex("ffffffff"));
}

TEST(AcceptedParams, TakesOnlyWhatNeedsNoCleaning) {
  JobOutcome strange = accepted();
  strange.outcome.from_number = "caf\xC3\xA9";
  JobOutcome longest = accepted();
  longest.outcome.provider_sid = std::string(501, 'x');
  JobOutcome rejected = accepted();
  rejected.outcome.kind = OutcomeKind::rejected;
  EXPECT_FALSE(is_plainly_accepted(strange));
  EXPECT_FALSE(is_plainly_accepted(longest));
  EXPECT_FALSE(is_plainly_accepted(rejected));
  EXPECT_TRUE(is_plainly_accepted(accepted()));

  const auto params = accepted_params({strange, accepted(), rejected});
  ASSERT_EQ(params.size(), 8u);
  for (const auto& param : params) EXPECT_EQ(param->substr(12, 4), byoc::unhex("00000001")) << "one element";
}

}  // namespace
}  // namespace byocd
