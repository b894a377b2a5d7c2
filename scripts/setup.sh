#!/usr/bin/env bash
# Installs what the build and the tests need and this machine lacks: Debian 12 packages, and where there is no CUDA 13
# toolkit, its headers and NVRTC from PyPI, into .cuda (cmake/NemotronCuda.cmake). Does nothing if all is there.
set -euo pipefail
cd "$(dirname "$0")/.."

packages=(
  # build
  cmake ninja-build ccache pkg-config clang-19 lld-19 libclang-rt-19-dev clang-format-19
  # compiler
  llvm-19-dev llvm-19-tools libmlir-19-dev mlir-19-tools zlib1g-dev libxml2-dev
  # runtime
  flatbuffers-compiler libflatbuffers-dev libfmt-dev libhwy-dev libpcre2-dev libsentencepiece-dev
  nlohmann-json3-dev libcli11-dev libxxhash-dev libzstd-dev
  # tests
  libgtest-dev libgmock-dev libbenchmark-dev python3 python3-pip
)

missing=()
for package in "${packages[@]}"; do
  if [[ "$(dpkg-query -W -f='${Status}' "$package" 2>/dev/null)" != "install ok installed" ]]; then
    missing+=("$package")
  fi
done
if [[ ${#missing[@]} -gt 0 ]]; then
  echo "setup: installing ${missing[*]}"
  if [[ $EUID -ne 0 ]]; then
    echo "setup: root is needed for that: sudo apt-get install ${missing[*]}" >&2
    exit 1
  fi
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq
  apt-get install -y -qq --no-install-recommends "${missing[@]}" > /dev/null
fi

cuda_wheels=(nvidia-cuda-runtime==13.0.96 nvidia-cuda-nvrtc==13.0.88)
has_cuda() { # FOLDER: cuda.h and nvrtc.h of CUDA 13.0, and libnvrtc
  grep -q '^#define CUDA_VERSION 130' "$1/include/cuda.h" 2> /dev/null && [[ -e "$1/include/nvrtc.h" ]] &&
    { [[ -e "$1/lib/libnvrtc.so.13" ]] || [[ -e "$1/lib64/libnvrtc.so.13" ]]; }
}
if ! has_cuda "${CUDA_HOME:-/usr/local/cuda}" && ! has_cuda .cuda/nvidia/cu13; then
  echo "setup: installing ${cuda_wheels[*]} into .cuda"
  python3 -m pip install --quiet --root-user-action ignore --no-deps --target .cuda.partial "${cuda_wheels[@]}"
  rm -rf .cuda && mv .cuda.partial .cuda
fi
