# byoc_bytes(file variable): the file's bytes as the initializer of an array, with a zero at its end.
function(byoc_bytes file variable)
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${file})
  file(READ ${file} bytes HEX)
  string(REGEX REPLACE "(................................)" "\\1\n" bytes "${bytes}")
  string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${bytes}")
  set(${variable} "{\n${bytes}0}" PARENT_SCOPE)
endfunction()

# byoc_embed(target name file): makes `extern const std::string_view embedded_NAME` (namespace byocd) hold the file's bytes.
function(byoc_embed target name file)
  byoc_bytes(${file} bytes)
  set(source ${CMAKE_BINARY_DIR}/generated/embedded_${name}.cpp)
  file(CONFIGURE OUTPUT ${source} @ONLY CONTENT "#include <string_view>
namespace byocd {
extern const std::string_view embedded_${name};
static const unsigned char bytes[] = ${bytes};
const std::string_view embedded_${name}{reinterpret_cast<const char*>(bytes), sizeof bytes - 1};
}  // namespace byocd
")
  target_sources(${target} PRIVATE ${source})
endfunction()

# byoc_embed_files(target name files...): makes `std::span<const EmbeddedFile> embedded_NAME()` (sidecar/api/embedded_file.h) list the files.
function(byoc_embed_files target name)
  set(arrays "")
  set(entries "")
  set(count 0)
  foreach(file IN LISTS ARGN)
    byoc_bytes(${file} bytes)
    get_filename_component(file_name ${file} NAME)
    file(SHA256 ${file} hash)
    math(EXPR count "${count} + 1")
    string(APPEND arrays "const unsigned char bytes_${count}[] = ${bytes};\n")
    string(APPEND entries
      "    {\"${file_name}\", \"${hash}\", {reinterpret_cast<const char*>(bytes_${count}), sizeof bytes_${count} - 1}},\n")
  endforeach()
  set(source ${CMAKE_BINARY_DIR}/generated/embedded_${name}.cpp)
  file(CONFIGURE OUTPUT ${source} @ONLY CONTENT "#include \"api/embedded_file.h\"
namespace byocd {
namespace {
${arrays}}  // namespace
std::span<const EmbeddedFile> embedded_${name}() {
  static const EmbeddedFile files[] = {
${entries}  };
  return files;
}
}  // namespace byocd
")
  target_sources(${target} PRIVATE ${source})
endfunction()
