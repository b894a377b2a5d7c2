// AVX-512 with VDPBF16PS, VNNI and VBMI.
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

using Ops = WithVbmi<WithVnni<Avx512DotOps>>;

#include "runtime/cpu/kernels/linear_tile-inl.h"

}  // namespace

const LinearKernels kLinearAvx512Bf16 = kKernels;

}  // namespace nemotron::runtime::cpu
