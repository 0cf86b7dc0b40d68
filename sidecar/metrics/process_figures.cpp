#include "process_figures.h"

#include <sys/resource.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>
#include <string>

namespace byocd {

namespace {

using Type = Exposition::Type;

// Not from /proc/stat, which a service may not see.
const double start_time = std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();

}  // namespace

void write_process_figures(Exposition& exposition) {
  const auto single = [&](const char* name, Type type, const char* help, double value) {
    exposition.metric(name, type, help);
    exposition.sample(value);
  };
  rusage used{};
  if (getrusage(RUSAGE_SELF, &used) == 0) {
    const auto seconds = [](const timeval& time) {
      return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
    };
    single("process_cpu_seconds_total", Type::counter, "CPU time of the process.",
           seconds(used.ru_utime) + seconds(used.ru_stime));
  }
  single("process_start_time_seconds", Type::gauge, "Unix time of the start of the process.", start_time);
  std::ifstream file("/proc/self/stat");
  std::string stat((std::istreambuf_iterator<char>(file)), {});
  // See proc(5). The name of the program may hold anything, so what follows it is found from the end.
  if (const auto end = stat.rfind(')'); end != stat.npos) {
    std::istringstream fields(stat.substr(end + 1));
    double value = 0;
    std::string state;
    fields >> state;
    for (int number = 4; number <= 24 && fields >> value; ++number) {
      if (number == 23) single("process_virtual_memory_bytes", Type::gauge, "Virtual memory of the process.", value);
      if (number == 24)
        single("process_resident_memory_bytes", Type::gauge, "Memory that the process has in use.",
               value * static_cast<double>(sysconf(_SC_PAGESIZE)));
    }
  }
  std::error_code error;
  const std::filesystem::directory_iterator descriptors("/proc/self/fd", error);
  // One of them is the one that lists them.
  if (!error)
    single("process_open_fds", Type::gauge, "Open file descriptors.",
           static_cast<double>(std::distance(begin(descriptors), end(descriptors)) - 1));
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) == 0)
    single("process_max_fds", Type::gauge, "Most file descriptors that may be open.",
           static_cast<double>(limit.rlim_cur));
}

}  // namespace byocd
