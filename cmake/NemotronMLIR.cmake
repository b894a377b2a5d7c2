# Helpers for targets with MLIR. Everything links the shared libMLIR and libLLVM, and our dialects and passes are shared
# libraries too, so that a pass plugin and the tool that loads it see one set of types.

find_package(MLIR REQUIRED CONFIG HINTS /usr/lib/llvm-19/lib/cmake/mlir)
if(NOT LLVM_VERSION_MAJOR EQUAL 19)
  message(FATAL_ERROR "MLIR 19 is needed, ${LLVM_VERSION} was found in ${MLIR_DIR}")
endif()
list(APPEND CMAKE_MODULE_PATH ${MLIR_CMAKE_DIR} ${LLVM_CMAKE_DIR})
include(TableGen)
include(AddLLVM)
include(AddMLIR)
set(NEMOTRON_LLVM_BIN ${LLVM_TOOLS_BINARY_DIR})

# nemotron_mlir_library(NAME SOURCES ... DEPENDS ... [TABLEGEN targets...])
function(nemotron_mlir_library name)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPENDS;TABLEGEN" ${ARGN})
  add_library(${name} SHARED ${ARG_SOURCES})
  nemotron_mlir_target(${name})
  # Static libraries and their packages go into the shared library: who links an installed one does not need them.
  foreach(dependency ${ARG_DEPENDS})
    if(dependency MATCHES "^Nemotron")
      target_link_libraries(${name} PUBLIC ${dependency})
    else()
      target_link_libraries(${name} PUBLIC $<BUILD_INTERFACE:${dependency}>)
    endif()
  endforeach()
  target_link_libraries(${name} PUBLIC MLIR LLVM)
  if(NOT NEMOTRON_SANITIZE) # a sanitizer's runtime is in the executable
    target_link_options(${name} PRIVATE LINKER:-z,defs)
  endif()
  if(ARG_TABLEGEN)
    add_dependencies(${name} ${ARG_TABLEGEN})
  endif()
endfunction()

# nemotron_mlir_tool(NAME SOURCES ... DEPENDS ...): a command that links the compiler.
function(nemotron_mlir_tool name)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPENDS" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  nemotron_mlir_target(${name})
  target_link_libraries(${name} PRIVATE ${ARG_DEPENDS} MLIR LLVM)
endfunction()

# Include paths and flags that any target with MLIR needs.
function(nemotron_mlir_target name)
  target_include_directories(${name} SYSTEM PUBLIC $<BUILD_INTERFACE:${MLIR_INCLUDE_DIRS}>
                             $<BUILD_INTERFACE:${LLVM_INCLUDE_DIRS}>)
  target_include_directories(${name} PUBLIC $<BUILD_INTERFACE:${CMAKE_SOURCE_DIR}>
                             $<BUILD_INTERFACE:${CMAKE_BINARY_DIR}>)
  target_compile_options(${name} PRIVATE -fno-rtti -fvisibility-inlines-hidden)
endfunction()

# nemotron_doc(PAGE SOURCE.td FLAG...): a generated page, PAGE in the folder docs of the build tree. Target `docs` makes
# all of them.
add_custom_target(docs)
function(nemotron_doc page source)
  get_filename_component(td ${source} ABSOLUTE)
  set(out ${CMAKE_BINARY_DIR}/docs/${page})
  get_filename_component(folder ${out} DIRECTORY)
  file(MAKE_DIRECTORY ${folder})
  add_custom_command(OUTPUT ${out}
    COMMAND ${NEMOTRON_LLVM_BIN}/mlir-tblgen ${ARGN} ${td} -I ${CMAKE_SOURCE_DIR} -I ${MLIR_INCLUDE_DIRS} -o ${out}
            -d ${out}.d
    DEPFILE ${out}.d DEPENDS ${td} COMMENT "TableGen docs/${page}")
  string(MAKE_C_IDENTIFIER doc-${page} target)
  add_custom_target(${target} DEPENDS ${out})
  add_dependencies(docs ${target})
endfunction()

# nemotron_tablegen(TARGET SOURCE.td OUTPUT FLAGS [OUTPUT FLAGS] ...): pairs of output file and mlir-tblgen flags, the
# latter in one argument, separated by spaces; outputs land beside SOURCE in the build tree, included from the root.
function(nemotron_tablegen target source)
  set(outputs)
  set(rest ${ARGN})
  get_filename_component(td ${source} ABSOLUTE)
  while(rest)
    list(POP_FRONT rest output flags)
    separate_arguments(flags)
    set(out ${CMAKE_CURRENT_BINARY_DIR}/${output})
    add_custom_command(OUTPUT ${out}
      COMMAND ${NEMOTRON_LLVM_BIN}/mlir-tblgen ${flags} ${td} -I ${CMAKE_SOURCE_DIR} -I ${MLIR_INCLUDE_DIRS}
              -o ${out} -d ${out}.d --write-if-changed
      DEPFILE ${out}.d DEPENDS ${td} COMMENT "TableGen ${output}")
    list(APPEND outputs ${out})
  endwhile()
  add_custom_target(${target} DEPENDS ${outputs})
endfunction()
