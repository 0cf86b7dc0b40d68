# byoc_embed(target name file): makes `extern const std::string_view embedded_NAME` (namespace byocd) hold the file's bytes.
function(byoc_embed target name file)
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${file})
  file(READ ${file} bytes HEX)
  string(REGEX REPLACE "(................................)" "\\1\n" bytes "${bytes}")
  string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${bytes}")
  set(source ${CMAKE_BINARY_DIR}/generated/embedded_${name}.cpp)
  file(CONFIGURE OUTPUT ${source} @ONLY CONTENT "#include <string_view>
namespace byocd {
extern const std::string_view embedded_${name};
static const unsigned char bytes[] = {
${bytes}0};
const std::string_view embedded_${name}{reinterpret_cast<const char*>(bytes), sizeof bytes - 1};
}  // namespace byocd
")
  target_sources(${target} PRIVATE ${source})
endfunction()
