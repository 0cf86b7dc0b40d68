#include "api/refusal.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace byocd {
namespace {

DbError error(std::string sqlstate, std::string message = "something is wrong", std::string column = "") {
  return {std::move(sqlstate), std::move(message), "", false, std::move(column)};
}

std::string header(const ApiAnswer& answer, const std::string& name) {
  for (const auto& [key, value] : answer.headers)
    if (key == name) return value;
  return "";
}

TEST(Refusal, SaysInHttpWhatTheDatabaseRefused) {
  for (const auto& [sqlstate, status] : {std::pair{"28000", 401},
                                         {"42501", 403},
                                         {"P0002", 404},
                                         {"55000", 409},
                                         {"23505", 409},
                                         {"PT412", 412},
                                         {"22023", 422},
                                         {"22P02", 422},
                                         {"54001", 422},
                                         {"57014", 503},
                                         {"55P03", 503},
                                         {"40P01", 503},
                                         {"53300", 503},
                                         {"XX000", 500}})
    EXPECT_EQ(refusal_problem(error(sqlstate)).status, status) << sqlstate;
  DbError lost;
  lost.connection_lost = true;
  EXPECT_EQ(refusal_problem(lost).status, 503);
}

TEST(Refusal, SaysWhenToComeAgainAndWithWhat) {
  EXPECT_EQ(header(refusal_problem(error("57014")), "Retry-After"), "1");
  EXPECT_EQ(header(refusal_problem(error("28000")), "WWW-Authenticate"), "Bearer error=\"invalid_token\"");
}

TEST(Refusal, ARoleThatLacksAGrantIsNoFaultOfTheUser) {
  EXPECT_EQ(refusal_problem(error("42501", "permission denied for function rest_session")).status, 500);
}

TEST(Refusal, NamesTheFieldAndTellsInSentences) {
  const ApiAnswer answer = refusal_problem(error("22023", "it must be of type string", "display_name"));
  EXPECT_EQ(answer.content_type, "application/problem+json");
  const auto document = nlohmann::json::parse(answer.body);
  EXPECT_EQ(document["detail"], "It must be of type string.");
  EXPECT_EQ(document["errors"][0]["field"], "display_name");
  EXPECT_FALSE(nlohmann::json::parse(refusal_problem(error("22023")).body).contains("errors"));
  EXPECT_EQ(nlohmann::json::parse(refusal_problem(error("22023", "auth_token is missing")).body)["detail"],
            "auth_token is missing.");
}

TEST(Refusal, TellsNothingOfWhatNobodyExpected) {
  EXPECT_EQ(refusal_problem(error("XX000", "internal matter")).body.find("internal matter"), std::string::npos);
}

}  // namespace
}  // namespace byocd
