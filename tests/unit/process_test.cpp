#include "process.h"

#include <gtest/gtest.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

namespace byocd {
namespace {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr int dumpable = 1;
#else
constexpr int dumpable = 0;
#endif

// In a process of its own: none of it can be taken back.
[[noreturn]] void harden_and_look() {
  harden_process();
  rlimit core{1, 1};
  getrlimit(RLIMIT_CORE, &core);
  _exit(core.rlim_cur == 0 && core.rlim_max == 0 && prctl(PR_GET_DUMPABLE) == dumpable ? 0 : 1);
}

TEST(Process, IsNeitherDumpedNorReadByOthersOfItsUser) {
  EXPECT_EXIT(harden_and_look(), testing::ExitedWithCode(0), "");
}

}  // namespace
}  // namespace byocd
