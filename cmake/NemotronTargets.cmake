# Helpers for targets without MLIR: the runtime, its tools and tests.

find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)
find_package(fmt REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(CLI11 REQUIRED)
pkg_check_modules(XXHASH REQUIRED IMPORTED_TARGET libxxhash)
pkg_check_modules(PCRE2 REQUIRED IMPORTED_TARGET libpcre2-8)
pkg_check_modules(SENTENCEPIECE REQUIRED IMPORTED_TARGET sentencepiece)
pkg_check_modules(HWY REQUIRED IMPORTED_TARGET libhwy)
find_program(FLATC flatc REQUIRED)

add_compile_options(-Wall -Wextra -Wno-unused-parameter)

# nemotron_library(NAME SOURCES ... DEPENDS ...): one static library a folder; includes are from the root.
function(nemotron_library name)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPENDS" ${ARGN})
  add_library(${name} STATIC ${ARG_SOURCES})
  target_include_directories(${name} PUBLIC ${CMAKE_SOURCE_DIR} ${CMAKE_BINARY_DIR})
  target_link_libraries(${name} PUBLIC ${ARG_DEPENDS})
endfunction()

# nemotron_not_fuzzed(NAME): no fuzzer explores NAME, whose branches need not be counted.
function(nemotron_not_fuzzed name)
  if(NEMOTRON_BUILD_FUZZERS)
    target_compile_options(${name} PRIVATE -fno-sanitize=fuzzer-no-link)
  endif()
endfunction()

# nemotron_test(NAME SOURCES ... DEPENDS ... [LABELS ...] [ENVIRONMENT ...]): a GoogleTest binary and its ctest entry.
# NEMOTRON_TEST_DATA is the path of tests/data.
function(nemotron_test name)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPENDS;LABELS;ENVIRONMENT" ${ARGN})
  find_package(GTest REQUIRED)
  add_executable(${name} ${ARG_SOURCES})
  nemotron_not_fuzzed(${name})
  target_include_directories(${name} PRIVATE ${CMAKE_SOURCE_DIR} ${CMAKE_BINARY_DIR})
  target_compile_definitions(${name} PRIVATE NEMOTRON_TEST_DATA="${CMAKE_SOURCE_DIR}/tests/data")
  target_link_libraries(${name} PRIVATE ${ARG_DEPENDS} GTest::gtest GTest::gmock GTest::gtest_main)
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
  add_test(NAME ${name} COMMAND ${name})
  set(timeout 300)
  if(NEMOTRON_SANITIZE) # the longest takes 3 minutes where nothing else runs
    set(timeout 900)
  endif()
  set_tests_properties(${name} PROPERTIES LABELS "unit;${ARG_LABELS}" ENVIRONMENT "${ARG_ENVIRONMENT}"
                       TIMEOUT ${timeout})
endfunction()

# nemotron_fuzzer(NAME SOURCES ... DEPENDS ... CORPUS dir [SECONDS n]): a libFuzzer binary, run for a bounded time by ctest.
function(nemotron_fuzzer name)
  cmake_parse_arguments(ARG "" "CORPUS;SECONDS" "SOURCES;DEPENDS" ${ARGN})
  if(NOT NEMOTRON_BUILD_FUZZERS)
    return()
  endif()
  if(NOT ARG_SECONDS)
    set(ARG_SECONDS 20)
  endif()
  add_executable(${name} ${ARG_SOURCES})
  target_include_directories(${name} PRIVATE ${CMAKE_SOURCE_DIR} ${CMAKE_BINARY_DIR})
  target_link_libraries(${name} PRIVATE ${ARG_DEPENDS})
  target_compile_options(${name} PRIVATE -fsanitize=fuzzer)
  target_link_options(${name} PRIVATE -fsanitize=fuzzer)
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
  # New inputs go to a scratch folder first in the list; the seed corpus is read only.
  set(scratch ${CMAKE_BINARY_DIR}/fuzz/${name})
  file(MAKE_DIRECTORY ${scratch})
  add_test(NAME ${name} COMMAND ${name} -max_total_time=${ARG_SECONDS} -rss_limit_mb=2048 -timeout=10
           -artifact_prefix=${scratch}/ ${scratch} ${ARG_CORPUS})
  set_tests_properties(${name} PROPERTIES LABELS "fuzz" TIMEOUT 300)
endfunction()
