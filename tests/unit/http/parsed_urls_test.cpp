#include "http/parsed_urls.h"

#include <gtest/gtest.h>

namespace byocd {
namespace {

TEST(ParsedUrls, TheSameUrlIsParsedOnce) {
  ParsedUrls urls;
  const auto first = urls.get("http://127.0.0.1:1/a");
  ASSERT_TRUE(first);
  EXPECT_EQ(urls.get("http://127.0.0.1:1/a"), first);
  EXPECT_NE(urls.get("http://127.0.0.1:1/b"), first);
}

TEST(ParsedUrls, WhatIsNoUrlIsLeftToTheRequestToFail) {
  ParsedUrls urls;
  EXPECT_FALSE(urls.get("no url"));
}

TEST(ParsedUrls, ManyUrlsAreForgottenButStayValidWhereTheyAreUsed) {
  ParsedUrls urls;
  const auto first = urls.get("http://127.0.0.1/0");
  for (int i = 1; i <= 2'000; ++i) ASSERT_TRUE(urls.get("http://127.0.0.1/" + std::to_string(i)));
  EXPECT_NE(urls.get("http://127.0.0.1/0"), first);
  char* path = nullptr;
  ASSERT_EQ(curl_url_get(first.get(), CURLUPART_PATH, &path, 0), CURLUE_OK);
  EXPECT_STREQ(path, "/0");
  curl_free(path);
}

}  // namespace
}  // namespace byocd
