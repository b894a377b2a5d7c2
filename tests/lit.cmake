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
set(lit_folders)
foreach(folder dialects passes codegen tools)
  if(IS_DIRECTORY ${CMAKE_CURRENT_LIST_DIR}/${folder})
    list(APPEND lit_folders ${CMAKE_BINARY_DIR}/lit/${folder})
  endif()
endforeach()
set(lit_command ${Python3_EXECUTABLE} ${LLVM_LIT} -v -j2 --config-prefix=lit ${CMAKE_BINARY_DIR}/lit)
add_test(NAME lit COMMAND ${lit_command})
set_tests_properties(lit PROPERTIES LABELS "lit" TIMEOUT 600)
