// AVX-512 without a BF16 dot product: both halves of a pair are widened and multiplied one after the other.
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

struct Ops : Avx512Ops {
  using BF16Vector = __m512i;
  struct Pair {
    Vector even, odd;
  };
  static BF16Vector LoadBF16(const void* p) { return _mm512_loadu_si512(p); }
  static Vector Even(BF16Vector v) { return _mm512_castsi512_ps(_mm512_slli_epi32(v, 16)); }
  static Vector Odd(BF16Vector v) {
    return _mm512_castsi512_ps(_mm512_and_si512(v, _mm512_set1_epi32(static_cast<int>(0xFFFF0000u))));
  }
  static Pair BroadcastBF16(const uint16_t* pair) {
    return {Broadcast(BF16ToF32(pair[0])), Broadcast(BF16ToF32(pair[1]))};
  }
  static Vector MultiplyAddBF16(Vector sum, const Pair& x, BF16Vector w) {
    return MultiplyAdd(MultiplyAdd(sum, x.even, Even(w)), x.odd, Odd(w));
  }
};

#include "runtime/cpu/kernels/linear_tile-inl.h"

}  // namespace

const LinearKernels kLinearAvx512 = {RunF32, RunBF16, RunF8, RoundToBF16, DecodeF8};

}  // namespace nemotron::runtime::cpu
