// AVX-512 without dot products.
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

struct Ops : Avx512WideningOps {
  /// Of four neighbouring bytes, the 1st and 3rd and the 2nd and 4th, as 16 bits.
  struct I8Pairs {
    __m512i even, odd;
  };
  static I8Pairs BroadcastI8(const int8_t* quad) {
    const __m512i all = BroadcastBytes(quad);
    return {_mm512_srai_epi16(_mm512_slli_epi16(all, 8), 8), _mm512_srai_epi16(all, 8)};
  }
  /// Unsigned bytes of `w` times signed numbers of `x`, added to int32 sums. Products of bytes (vpmaddubsw) would
  /// saturate at 16 bits.
  static Vector MultiplyAddI8(Vector sum, const I8Pairs& x, WordVector w) {
    const __m512i even = _mm512_and_si512(w, _mm512_set1_epi16(0xFF)), odd = _mm512_srli_epi16(w, 8);
    const __m512i products = _mm512_add_epi32(_mm512_madd_epi16(even, x.even), _mm512_madd_epi16(odd, x.odd));
    return _mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(sum), products));
  }
};

#include "runtime/cpu/kernels/linear_tile-inl.h"

}  // namespace

const LinearKernels kLinearAvx512 = kKernels;

}  // namespace nemotron::runtime::cpu
