// AVX-512 with VDPBF16PS: 16 outputs a register, two neighbouring k at a time.
#include <immintrin.h>

#include <algorithm>
#include <cstring>
#include <type_traits>

#include "runtime/base/dtype.h"
#include "runtime/cpu/kernels/linear_tile.h"
#include "runtime/plan/layout.h"

namespace nemotron::runtime::cpu {
namespace {

#include "runtime/cpu/kernels/linear_avx512_ops-inl.h"

struct Ops : Avx512Ops {
  using BF16Vector = __m512bh;
  static BF16Vector LoadBF16(const uint16_t* p) { return reinterpret_cast<__m512bh>(_mm512_loadu_si512(p)); }
  static BF16Vector BroadcastBF16(const uint16_t* pair) {
    int bits;
    std::memcpy(&bits, pair, sizeof(bits));
    return reinterpret_cast<__m512bh>(_mm512_set1_epi32(bits));
  }
  static Vector MultiplyAddBF16(Vector sum, BF16Vector x, BF16Vector w) { return _mm512_dpbf16_ps(sum, x, w); }
};

#include "runtime/cpu/kernels/linear_tile-inl.h"

}  // namespace

const LinearKernels kLinearAvx512Bf16 = {RunF32, RunBF16, RoundToBF16};

}  // namespace nemotron::runtime::cpu
