#include "api/router.h"

#include <gtest/gtest.h>

namespace byocd {
namespace {

class RouterTest : public testing::Test {
 protected:
  RouterTest() {
    for (const auto& [method, path] : {std::pair{"GET", "/things"},
                                       {"POST", "/things"},
                                       {"GET", "/things/{id}"},
                                       {"POST", "/things/special"},
                                       {"POST", "/things/{id}/verify"}})
      router.add(method, path, [this, path = path](const ApiRequest& request, const Reply& reply) {
        called = std::string(path) + " " + request.parameter;
        reply(empty_answer());
      });
  }
  ApiAnswer serve(const std::string& method, const std::string& path) {
    called.clear();
    ApiAnswer got;
    ApiRequest request;
    request.method = method;
    request.path = path;
    router.serve(request, [&](ApiAnswer answer) { got = std::move(answer); });
    return got;
  }

  Router router;
  std::string called;
};

TEST_F(RouterTest, FindsByMethodAndPath) {
  EXPECT_EQ(serve("GET", "/things").status, 204);
  EXPECT_EQ(called, "/things ");
  EXPECT_EQ(serve("GET", "/things/7").status, 204);
  EXPECT_EQ(called, "/things/{id} 7");
  EXPECT_EQ(serve("POST", "/things/7/verify").status, 204);
  EXPECT_EQ(called, "/things/{id}/verify 7");
}

TEST_F(RouterTest, ASegmentAsItIsGoesBeforeAParameter) {
  EXPECT_EQ(serve("POST", "/things/special").status, 204);
  EXPECT_EQ(called, "/things/special ");
  EXPECT_EQ(serve("GET", "/things/special").status, 405);
  EXPECT_EQ(router.allowed("/things/special"), "POST");
}

TEST_F(RouterTest, AnUnknownPathIs404) {
  for (const char* path : {"", "/", "/thing", "/things/", "/things/7/", "/things/7/8", "/things//verify",
                           "/things/7/verify/", "x/things/7"})
    EXPECT_EQ(serve("GET", path).status, 404) << path;
}

TEST_F(RouterTest, AnotherMethodIs405AndSaysWhichThereAre) {
  EXPECT_EQ(serve("DELETE", "/things").status, 405);
  EXPECT_EQ(router.allowed("/things"), "GET, HEAD, POST");
  EXPECT_EQ(serve("GET", "/things/7/verify").status, 405);
  EXPECT_EQ(router.allowed("/things/7/verify"), "POST");
  EXPECT_TRUE(called.empty());
}

}  // namespace
}  // namespace byocd
