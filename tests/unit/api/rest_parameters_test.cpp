#include "api/rest_parameters.h"

#include <gtest/gtest.h>

namespace byocd {
namespace {

const std::string id = "99999999-0000-4000-8000-000000000009";

ApiRequest request(std::string query, std::map<std::string, std::string> headers = {}, std::string body = "") {
  ApiRequest made;
  made.method = "POST";
  made.query = std::move(query);
  made.parameter = id;
  made.headers = std::move(headers);
  made.body = std::move(body);
  return made;
}

TEST(RestParameters, QueryValuesAreDecodedAndTheFirstCounts) {
  EXPECT_EQ(*page_parameters(request("after=a%2Eb&limit=1&limit=2&other=x")), (Params{"1", "a.b"}));
  EXPECT_EQ(*page_parameters(request("")), (Params{std::nullopt, std::nullopt}));
  EXPECT_EQ(*message_page_parameters(request("search=%C3%BC+b&status=sent")),
            (Params{"sent", "\xC3\xBC b", std::nullopt, std::nullopt}));
  EXPECT_EQ(page_parameters(request("limit=1%00")).error().status, 422);
}

TEST(RestParameters, WhatIsNoUuidIsNowhere) {
  ApiRequest made = request("");
  EXPECT_EQ(*id_parameters(made), (Params{id}));
  EXPECT_EQ(*id_page_parameters(request("limit=3")), (Params{id, "3", std::nullopt}));
  made.parameter = "7";
  for (const auto& parameters : {id_parameters(made), id_page_parameters(made), change_parameters(made),
                                 revoke_parameters(made), verify_parameters(made)})
    EXPECT_EQ(parameters.error().status, 404);
}

TEST(RestParameters, BodiesMustBeJson) {
  EXPECT_EQ(body_parameters(request("", {}, "{}")).error().status, 415);
  EXPECT_EQ(body_parameters(request("", {{"content-type", "text/plain"}}, "{}")).error().status, 415);
  EXPECT_EQ(body_parameters(request("", {{"content-type", "application/merge-patch+json"}}, "{}")).error().status, 415);
  EXPECT_EQ(body_parameters(request("", {{"content-type", "application/json"}}, "{")).error().status, 400);
  EXPECT_EQ(body_parameters(request("", {{"content-type", "application/json"}}, "")).error().status, 400);
  const std::map<std::string, std::string> headers{{"content-type", "Application/JSON ; charset=utf-8"},
                                                   {"idempotency-key", "k"}};
  EXPECT_EQ(*body_parameters(request("", headers, "{\"a\": 1}")), (Params{"{\"a\": 1}", "k"}));
}

TEST(RestParameters, AChangeNeedsIfMatch) {
  ApiRequest made = request("", {{"content-type", "application/merge-patch+json"}}, "{}");
  made.method = "PATCH";
  EXPECT_EQ(change_parameters(made).error().status, 428);
  made.headers["if-match"] = "\"1\"";
  EXPECT_EQ(*change_parameters(made), (Params{id, "{}", "\"1\""}));
  EXPECT_EQ(*revoke_parameters(request("")), (Params{id, std::nullopt}));
}

TEST(RestParameters, TheNextLinkKeepsTheQuery) {
  EXPECT_EQ(next_link(request("status=sent%2Cfailed&after=x&limit=2"), "1.f"),
            "<?status=sent%2Cfailed&limit=2&after=1.f>; rel=\"next\"");
  EXPECT_EQ(next_link(request("search=%3E%22%0D"), "1.f"), "<?search=%3E%22%0D&after=1.f>; rel=\"next\"");
}

}  // namespace
}  // namespace byocd
