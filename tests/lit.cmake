# The ctest entry `lit`: FileCheck tests of dialects, passes, codegen and tools.
find_package(Python3 REQUIRED COMPONENTS Interpreter)
find_program(LLVM_LIT NAMES lit.py llvm-lit lit
  HINTS ${LLVM_BUILD_BINARY_DIR} ${NEMOTRON_LLVM_BIN} ${NEMOTRON_LLVM_BIN}/../build/utils/lit
        /usr/lib/llvm-${LLVM_VERSION_MAJOR}/build/utils/lit)
if(NOT LLVM_LIT)
  message(WARNING "lit was not found (Debian package llvm-${LLVM_VERSION_MAJOR}-tools): its tests are left out")
  return()
endif()

configure_file(${CMAKE_CURRENT_LIST_DIR}/lit.site.cfg.py.in ${CMAKE_BINARY_DIR}/lit/lit.site.cfg.py @ONLY)
add_test(NAME lit COMMAND ${Python3_EXECUTABLE} ${LLVM_LIT} -v -j2 ${CMAKE_BINARY_DIR}/lit)
set_tests_properties(lit PROPERTIES LABELS "lit" TIMEOUT 600)
