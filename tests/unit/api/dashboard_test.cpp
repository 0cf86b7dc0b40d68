#include "api/dashboard.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>

namespace byocd {
namespace {

constexpr EmbeddedFile files[] = {
    {"settings.html", "0a0a", "<!doctype html>"}, {"style.css", "0b0b", "p {}"}, {"page.js", "0c0c", "export {}"}};

class DashboardTest : public testing::Test {
 protected:
  ApiAnswer get(const std::string& path, const std::string& if_none_match = "") {
    Router router;
    Dashboard(files, frame_ancestors).add_routes(router);
    ApiRequest request;
    request.method = "GET";
    request.path = path;
    if (!if_none_match.empty()) request.headers["if-none-match"] = if_none_match;
    ApiAnswer got;
    router.serve(request, [&](ApiAnswer answer) { got = std::move(answer); });
    return got;
  }
  static std::string header(const ApiAnswer& answer, const std::string& name) {
    const auto found = std::find_if(answer.headers.begin(), answer.headers.end(),
                                    [&](const auto& each) { return each.first == name; });
    return found == answer.headers.end() ? "" : found->second;
  }

  std::vector<std::string> frame_ancestors;
};

TEST_F(DashboardTest, ServesPagesByNameAndTheRestAsAssets) {
  EXPECT_EQ(get("/dashboard/settings").body, "<!doctype html>");
  EXPECT_EQ(get("/dashboard/settings").content_type, "text/html; charset=utf-8");
  EXPECT_EQ(get("/dashboard/assets/style.css").content_type, "text/css; charset=utf-8");
  EXPECT_EQ(get("/dashboard/assets/page.js").content_type, "text/javascript; charset=utf-8");
  for (const char* nowhere : {"/dashboard/settings.html", "/dashboard/assets/settings.html", "/dashboard/style.css",
                              "/dashboard/assets/../settings", "/dashboard/"})
    EXPECT_EQ(get(nowhere).status, 404) << nowhere;
}

TEST_F(DashboardTest, SendsNothingTwice) {
  const ApiAnswer first = get("/dashboard/assets/page.js");
  EXPECT_EQ(header(first, "ETag"), "\"0c0c\"");
  EXPECT_EQ(header(first, "Cache-Control"), "no-cache");
  for (const char* seen : {"\"0c0c\"", "W/\"0c0c\"", "\"1\", \"0c0c\"", "*"}) {
    const ApiAnswer again = get("/dashboard/assets/page.js", seen);
    EXPECT_EQ(again.status, 304) << seen;
    EXPECT_EQ(again.body, "") << seen;
    EXPECT_EQ(header(again, "ETag"), "\"0c0c\"") << seen;
  }
  EXPECT_EQ(get("/dashboard/assets/page.js", "\"0a0a\"").status, 200);
}

TEST_F(DashboardTest, AllowsNothingButItselfAndNamesWhoMayFrameIt) {
  const std::string alone = header(get("/dashboard/settings"), "Content-Security-Policy");
  EXPECT_EQ(alone.find("unsafe"), alone.npos);
  EXPECT_EQ(alone.find("default-src 'none'; script-src 'self';"), 0U);
  EXPECT_TRUE(alone.ends_with("frame-ancestors 'none'")) << alone;
  frame_ancestors = {"https://app.example", "https://other.example"};
  const std::string framed = header(get("/dashboard/settings"), "Content-Security-Policy");
  EXPECT_TRUE(framed.ends_with("frame-ancestors https://app.example https://other.example")) << framed;
}

TEST(EmbeddedPages, AreWhatThePagesAskFor) {
  std::map<std::string_view, EmbeddedFile> found;
  for (const auto& file : embedded_pages()) {
    EXPECT_FALSE(file.bytes.empty()) << file.name;
    EXPECT_EQ(file.hash.size(), 64U) << file.name;
    found.emplace(file.name, file);
  }
  for (const char* page : {"settings.html", "messages.html"}) {
    ASSERT_TRUE(found.contains(page)) << page;
    EXPECT_EQ(found[page].bytes.find("<!doctype html>"), 0U) << page;
  }
}

}  // namespace
}  // namespace byocd
