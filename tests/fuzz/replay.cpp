// Runs a fuzz target without libFuzzer, for compilers that lack it: every seed, each seed with every byte replaced and
// at every length, and `count` inputs that a few random changes each make from the seeds. `make check` runs this; `make
// fuzz` searches.
//
//   replay COUNT SEED...      FUZZ_SEED=N (printed by every run) makes the same random changes again
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <random>
#include <utility>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

using Input = std::vector<std::uint8_t>;

std::size_t runs = 0;

void run(const Input& input) {
  LLVMFuzzerTestOneInput(input.data(), input.size());
  ++runs;
}

void run_systematic_changes(const Input& seed) {
  run(seed);
  for (std::size_t at = 0; at < seed.size(); ++at) {
    run({seed.begin(), seed.begin() + static_cast<std::ptrdiff_t>(at)});
    for (const int change : {0x01, 0x80, 0xff, '{' ^ seed[at], '}' ^ seed[at], '|' ^ seed[at], '\n' ^ seed[at]}) {
      auto altered = seed;
      altered[at] = static_cast<std::uint8_t>(altered[at] ^ change);
      run(altered);
    }
  }
}

// Changes a byte, takes a range out, or puts a range of any seed in.
void mutate(Input& input, const std::vector<Input>& seeds, std::mt19937_64& random) {
  const auto below = [&random](std::size_t limit) { return static_cast<std::ptrdiff_t>(random() % limit); };
  const auto range_of = [&below](const Input& bytes) {
    const auto from = bytes.begin() + below(bytes.size() + 1);
    return std::pair(from, from + below(static_cast<std::size_t>(bytes.end() - from) + 1));
  };
  switch (random() % 3) {
    case 0:
      if (!input.empty()) input[static_cast<std::size_t>(below(input.size()))] = static_cast<std::uint8_t>(random());
      break;
    case 1: {
      const auto [from, to] = range_of(input);
      input.erase(from, to);
      break;
    }
    default: {
      const auto [from, to] = range_of(seeds[static_cast<std::size_t>(below(seeds.size()))]);
      input.insert(input.begin() + below(input.size() + 1), from, to);
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) {
    std::fprintf(stderr, "usage: %s COUNT SEED...\n", argv[0]);
    return 2;
  }
  std::vector<Input> seeds;
  for (int i = 2; i < argc; ++i) {
    std::ifstream file(argv[i], std::ios::binary);
    if (!file) {
      std::fprintf(stderr, "cannot read %s\n", argv[i]);
      return 2;
    }
    seeds.emplace_back(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
  }
  run({});
  for (const Input& seed : seeds) run_systematic_changes(seed);

  const char* wanted = std::getenv("FUZZ_SEED");
  const std::uint64_t start = wanted != nullptr ? std::strtoull(wanted, nullptr, 10) : std::random_device()();
  std::printf("FUZZ_SEED=%llu\n", static_cast<unsigned long long>(start));
  std::fflush(stdout);  // before anything crashes
  std::mt19937_64 random(start);
  for (long left = std::strtol(argv[1], nullptr, 10); left > 0; --left) {
    Input input = seeds[random() % seeds.size()];
    for (std::uint64_t changes = 1 + random() % 8; changes > 0; --changes) mutate(input, seeds, random);
    run(input);
  }
  std::printf("%zu inputs\n", runs);
  return 0;
}
