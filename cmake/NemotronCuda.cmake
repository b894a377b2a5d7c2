# Headers of CUDA 13: cuda.h for the driver API, nvrtc.h for the compiler. Nothing links them: libcuda and libnvrtc are
# opened at run time. Where no toolkit is installed, scripts/setup.sh puts NVIDIA's wheels from PyPI into .cuda.
#
# Defines the interface target nemotron_cuda_headers and NEMOTRON_NVRTC_DIR, the folder of the libnvrtc.so.13 that stands
# beside the headers.

set(cuda_roots $ENV{CUDA_HOME} /usr/local/cuda ${CMAKE_SOURCE_DIR}/.cuda/nvidia/cu13)
find_path(NEMOTRON_CUDA_INCLUDE cuda.h PATHS ${cuda_roots} PATH_SUFFIXES include NO_DEFAULT_PATH REQUIRED)
find_path(NEMOTRON_NVRTC_INCLUDE nvrtc.h PATHS ${cuda_roots} PATH_SUFFIXES include NO_DEFAULT_PATH REQUIRED)
find_path(NEMOTRON_NVRTC_DIR libnvrtc.so.13 PATHS ${cuda_roots} PATH_SUFFIXES lib64 lib NO_DEFAULT_PATH REQUIRED)

file(STRINGS ${NEMOTRON_CUDA_INCLUDE}/cuda.h cuda_version REGEX "^#define CUDA_VERSION [0-9]+")
if(NOT cuda_version MATCHES " 130[0-9][0-9]$")
  message(FATAL_ERROR "CUDA 13.0 is needed, '${cuda_version}' was found in ${NEMOTRON_CUDA_INCLUDE}/cuda.h")
endif()

add_library(nemotron_cuda_headers INTERFACE)
target_include_directories(nemotron_cuda_headers SYSTEM INTERFACE ${NEMOTRON_CUDA_INCLUDE} ${NEMOTRON_NVRTC_INCLUDE})
