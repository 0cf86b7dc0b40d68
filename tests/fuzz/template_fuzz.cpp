// Templates from anywhere: rendering writes exactly as many bytes as it says.
#include "template/template.h"

#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace byoc;
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  TemplateProblem problem;
  Template* compiled = Template::compile(input, problem);
  if (compiled == nullptr) {
    if (problem.error == TemplateError::none || problem.position > size) std::abort();
    return 0;
  }
  const std::vector<std::string_view> values(compiled->references().size(), input);
  const std::size_t needed = compiled->render(values.data(), nullptr, 0);
  std::string out(needed + 1, '#');
  if (compiled->render(values.data(), out.data(), needed) != needed || out[needed] != '#') std::abort();
  Template::destroy(compiled);
  return 0;
}
