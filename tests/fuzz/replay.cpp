// Runs a fuzz target without libFuzzer, for compilers that lack it: every seed, then each seed with every byte replaced
// and at every length. `make check` runs this; `make fuzz` searches.
//
//   replay SEED...
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

int main(int argc, char** argv) {
  std::size_t runs = 0;
  const auto run = [&runs](const std::vector<std::uint8_t>& input) {
    LLVMFuzzerTestOneInput(input.data(), input.size());
    ++runs;
  };
  run({});
  for (int i = 1; i < argc; ++i) {
    std::ifstream file(argv[i], std::ios::binary);
    if (!file) {
      std::fprintf(stderr, "cannot read %s\n", argv[i]);
      return 2;
    }
    const std::vector<std::uint8_t> seed{std::istreambuf_iterator<char>(file), {}};
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
  std::printf("%zu inputs\n", runs);
  return 0;
}
