// AVX-512 with VNNI, without VDPBF16PS.
#include <immintrin.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <type_traits>

#include "runtime/base/dtype.h"
#include "runtime/cpu/kernels/linear_tile.h"
#include "runtime/plan/layout.h"

namespace nemotron::runtime::cpu {
namespace {

#include "runtime/cpu/kernels/linear_avx512_ops-inl.h"

using Ops = WithVnni<Avx512WideningOps>;

#include "runtime/cpu/kernels/linear_tile-inl.h"

}  // namespace

const LinearKernels kLinearAvx512Vnni = kKernels;

}  // namespace nemotron::runtime::cpu
