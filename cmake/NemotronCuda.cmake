# Headers of CUDA 13: cuda.h for the driver API, nvrtc.h for the compiler. Nothing links them: libcuda and libnvrtc are
# opened at run time. Where no toolkit is installed, scripts/setup.sh puts NVIDIA's wheels from PyPI into .cuda.
#
# Defines the interface target nemotron_cuda_headers and NEMOTRON_NVRTC_DIR, the folder of the libnvrtc.so.13 that stands
# beside the headers.

set(cuda_roots $ENV{CUDA_HOME} /usr/local/cuda ${CMAKE_SOURCE_DIR}/.cuda/nvidia/cu13)
foreach(root ${cuda_roots})
  if(EXISTS ${root}/include/cuda.h AND EXISTS ${root}/include/nvrtc.h)
    file(STRINGS ${root}/include/cuda.h cuda_version REGEX "^#define CUDA_VERSION 130[0-9][0-9]$")
    find_path(NEMOTRON_NVRTC_DIR libnvrtc.so.13 PATHS ${root} PATH_SUFFIXES lib64 lib NO_DEFAULT_PATH)
    if(cuda_version AND NEMOTRON_NVRTC_DIR)
      set(NEMOTRON_CUDA_ROOT ${root})
      break()
    endif()
  endif()
endforeach()
if(NOT NEMOTRON_CUDA_ROOT)
  message(FATAL_ERROR "no headers and NVRTC of CUDA 13.0 in ${cuda_roots}: run scripts/setup.sh")
endif()

add_library(nemotron_cuda_headers INTERFACE)
target_include_directories(nemotron_cuda_headers SYSTEM INTERFACE ${NEMOTRON_CUDA_ROOT}/include)
