# What `cmake --install` puts where. Commands go to bin, shared libraries to lib, headers to include/nemotron as they
# are included (`#include "passes/Passes.h"`), nemotron.h of the C interface to include, and the package for
# find_package(Nemotron) to lib/cmake/Nemotron. The tree may be moved: commands and libraries find each other by where
# they are, and MLIR by where the build found it.

include(CMakePackageConfigHelpers)

set(NEMOTRON_INSTALL_HEADERS ${CMAKE_INSTALL_INCLUDEDIR}/nemotron)
set(NEMOTRON_INSTALL_PACKAGE ${CMAKE_INSTALL_LIBDIR}/cmake/Nemotron)

# nemotron_install_library(EXPORT_SET TARGET NAME): a shared library, Nemotron::NAME for who finds the package.
function(nemotron_install_library export_set target name)
  set_target_properties(${target} PROPERTIES EXPORT_NAME ${name} INSTALL_RPATH "$ORIGIN"
                        INSTALL_RPATH_USE_LINK_PATH ON)
  install(TARGETS ${target} EXPORT ${export_set}
          LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} NAMELINK_COMPONENT Development)
endfunction()

function(nemotron_install_tool export_set target)
  set_target_properties(${target} PROPERTIES INSTALL_RPATH "$ORIGIN/../${CMAKE_INSTALL_LIBDIR}"
                        INSTALL_RPATH_USE_LINK_PATH ON)
  install(TARGETS ${target} EXPORT ${export_set} RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endfunction()

# Headers of a folder, written and generated.
function(nemotron_install_headers folder)
  foreach(root ${CMAKE_SOURCE_DIR} ${CMAKE_BINARY_DIR})
    install(DIRECTORY ${root}/${folder}/ DESTINATION ${NEMOTRON_INSTALL_HEADERS}/${folder} OPTIONAL
            FILES_MATCHING PATTERN "*.h" PATTERN "*.h.inc" PATTERN "*.td" PATTERN "CMakeFiles" EXCLUDE)
  endforeach()
endfunction()

foreach(tool nemotron-run nemotron-inspect nemotron-bench)
  nemotron_install_tool(NemotronRuntimeTargets ${tool})
endforeach()
nemotron_install_library(NemotronRuntimeTargets nemotron_c C)
install(FILES runtime/nemotron.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(EXPORT NemotronRuntimeTargets NAMESPACE Nemotron:: DESTINATION ${NEMOTRON_INSTALL_PACKAGE})

if(NEMOTRON_BUILD_COMPILER)
  foreach(tool nemotron-compile nemotron-opt)
    nemotron_install_tool(NemotronCompilerTargets ${tool})
  endforeach()
  foreach(name IR PlanIR PlanPasses Passes Codegen HuggingFace)
    nemotron_install_library(NemotronCompilerTargets Nemotron${name} ${name})
    target_include_directories(Nemotron${name} INTERFACE $<INSTALL_INTERFACE:${NEMOTRON_INSTALL_HEADERS}>)
  endforeach()
  foreach(folder dialects passes frontends codegen runtime/base runtime/plan)
    nemotron_install_headers(${folder})
  endforeach()
  install(EXPORT NemotronCompilerTargets NAMESPACE Nemotron:: DESTINATION ${NEMOTRON_INSTALL_PACKAGE})
endif()

configure_package_config_file(cmake/NemotronConfig.cmake.in ${CMAKE_BINARY_DIR}/NemotronConfig.cmake
                              INSTALL_DESTINATION ${NEMOTRON_INSTALL_PACKAGE}
                              PATH_VARS CMAKE_INSTALL_BINDIR NEMOTRON_INSTALL_HEADERS)
write_basic_package_version_file(${CMAKE_BINARY_DIR}/NemotronConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_BINARY_DIR}/NemotronConfig.cmake ${CMAKE_BINARY_DIR}/NemotronConfigVersion.cmake
        DESTINATION ${NEMOTRON_INSTALL_PACKAGE})
