// Answers of providers as they were recorded: files below tests/unit/providers.
#pragma once

#include <gtest/gtest.h>

#include <fstream>
#include <sstream>
#include <string>

#include "http/request.h"

namespace byocd {

/// `name`: `google/tokens`, say.
inline std::string recorded(const std::string& name) {
  std::ifstream stream(std::string(BYOC_UNIT_TEST_FOLDER) + "/providers/" + name + ".json");
  EXPECT_TRUE(stream) << name;
  std::stringstream text;
  text << stream.rdbuf();
  return text.str();
}

inline HttpResult response(int status, std::string body) {
  HttpResponse answer;
  answer.status = status;
  answer.body = std::move(body);
  return answer;
}

}  // namespace byocd
