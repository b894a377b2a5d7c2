#!/usr/bin/env bash
# Installs what the build and the tests need and this machine lacks. Debian 12 packages; does nothing if all is there.
set -euo pipefail

packages=(
  # build
  cmake ninja-build ccache pkg-config clang-19 lld-19 libclang-rt-19-dev clang-format-19
  # compiler
  llvm-19-dev llvm-19-tools libmlir-19-dev mlir-19-tools zlib1g-dev libxml2-dev
  # runtime
  flatbuffers-compiler libflatbuffers-dev libfmt-dev libhwy-dev libpcre2-dev libsentencepiece-dev
  nlohmann-json3-dev libcli11-dev libxxhash-dev libzstd-dev
  # tests
  libgtest-dev libgmock-dev libbenchmark-dev python3
)

missing=()
for package in "${packages[@]}"; do
  if [[ "$(dpkg-query -W -f='${Status}' "$package" 2>/dev/null)" != "install ok installed" ]]; then
    missing+=("$package")
  fi
done
if [[ ${#missing[@]} -eq 0 ]]; then
  exit 0
fi
echo "setup: installing ${missing[*]}"
if [[ $EUID -ne 0 ]]; then
  echo "setup: root is needed for that: sudo apt-get install ${missing[*]}" >&2
  exit 1
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends "${missing[@]}" > /dev/null
