// AVX-512 with VDPBF16PS and VBMI, which looks a byte up in a table of 128.
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

struct Ops : Avx512Bf16Ops {
  static void DecodeF8(const void* p, WordVector& first, WordVector& second) {
    const __m512i codes = _mm512_loadu_si512(p);
    const auto look_up = [codes](const uint8_t* table) {
      return _mm512_permutex2var_epi8(_mm512_load_si512(table), codes, _mm512_load_si512(table + 64));
    };
    // 0xF8: a | (b & c), the sign.
    const __m512i high = _mm512_ternarylogic_epi64(look_up(kF8Tables.high), codes, Bytes(0x80), 0xF8);
    Interleave(look_up(kF8Tables.low), high, first, second);
  }
};

#include "runtime/cpu/kernels/linear_tile-inl.h"

}  // namespace

const LinearKernels kLinearAvx512Vbmi = {RunF32, RunBF16, RunF8, RunI8, RoundToBF16, DecodeF8, SumI8};

}  // namespace nemotron::runtime::cpu
