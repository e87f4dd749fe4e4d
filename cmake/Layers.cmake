# layer(NAME sources...): a static library of ours with the project's warnings.
# make_table(...): one file per row; the folder's files are the table, there is no list to edit.

add_library(inquest_options INTERFACE)
target_include_directories(inquest_options INTERFACE ${PROJECT_SOURCE_DIR})
target_compile_options(inquest_options INTERFACE -Wall -Wextra -Wshadow -Wconversion -Wno-sign-conversion -Werror=return-type
                       "$<$<CXX_COMPILER_ID:GNU>:-Wno-missing-field-initializers;-Wno-restrict>"
                       $<$<CXX_COMPILER_ID:Clang>:-Wno-missing-field-initializers -Wno-missing-designated-field-initializers>)
if(INQUEST_SANITIZE)
  target_compile_options(inquest_options INTERFACE -fsanitize=${INQUEST_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=undefined)
  target_link_options(inquest_options INTERFACE -fsanitize=${INQUEST_SANITIZE})
endif()
if(INQUEST_FUZZ)
  target_compile_options(inquest_options INTERFACE -fsanitize=fuzzer-no-link)
endif()

function(layer name)
  add_library(${name} STATIC ${ARGN})
  target_link_libraries(${name} PUBLIC inquest_options)
endfunction()

# make_table(SOURCES-VAR OUTPUT HEADER TYPE FUNCTION NAMESPACE SUFFIX): writes a source file that returns every row's
# constant; the row of FILE.cc is called FILE + SUFFIX.
function(make_table sources output header type function namespace suffix)
  set(declarations "")
  set(pointers "")
  foreach(source ${${sources}})
    get_filename_component(stem ${source} NAME_WE)
    set(row ${stem}${suffix})
    string(APPEND declarations "extern const ${type} ${row};\n")
    string(APPEND pointers "&${row}, ")
  endforeach()
  set(text "// Made by the build from the folder's files.\n#include \"${header}\"\n\nnamespace ${namespace} {\n${declarations}
std::span<const ${type}* const> ${function}() {\n  static constexpr const ${type}* rows[] = {${pointers}};\n  return rows;\n}\n}\n")
  file(GENERATE OUTPUT ${output} CONTENT "${text}")
endfunction()
