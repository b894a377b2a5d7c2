// AVX2 with FMA: 16 outputs in two registers.
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

#include "runtime/cpu/kernels/linear_f8-inl.h"

struct Ops {
  using Operand = float;
  struct Vector {
    __m256 low, high;
  };
  struct WordVector {
    __m256i low, high;
  };
  // 4 rows of one panel are 8 sums; with weights and broadcasts they fit 16 registers.
  static constexpr int kTileRows = 4, kTilePanels = 1;
  static constexpr int kStreamPanels = 4;
  static Vector Zero() { return {_mm256_setzero_ps(), _mm256_setzero_ps()}; }
  static Vector Load(const float* p, int n) {
    if (n == 16) {
      return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)};
    }
    alignas(32) float padded[16] = {};
    std::memcpy(padded, p, n * sizeof(float));
    return {_mm256_load_ps(padded), _mm256_load_ps(padded + 8)};
  }
  static void Store(float* p, const Vector& v, int n) {
    if (n == 16) {
      _mm256_storeu_ps(p, v.low);
      _mm256_storeu_ps(p + 8, v.high);
      return;
    }
    alignas(32) float padded[16];
    _mm256_store_ps(padded, v.low);
    _mm256_store_ps(padded + 8, v.high);
    std::memcpy(p, padded, n * sizeof(float));
  }
  static Vector Fill(float x) { return {_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
  static __m256 Broadcast(float x) { return _mm256_set1_ps(x); }
  static Vector Add(const Vector& a, const Vector& b) {
    return {_mm256_add_ps(a.low, b.low), _mm256_add_ps(a.high, b.high)};
  }
  static Vector Multiply(const Vector& a, const Vector& b) {
    return {_mm256_mul_ps(a.low, b.low), _mm256_mul_ps(a.high, b.high)};
  }
  static Vector MultiplyAdd(const Vector& sum, __m256 x, const Vector& w) {
    return {_mm256_fmadd_ps(x, w.low, sum.low), _mm256_fmadd_ps(x, w.high, sum.high)};
  }
  static Vector Relu2(const Vector& v) {
    const __m256 low = _mm256_max_ps(v.low, _mm256_setzero_ps()), high = _mm256_max_ps(v.high, _mm256_setzero_ps());
    return {_mm256_mul_ps(low, low), _mm256_mul_ps(high, high)};
  }
  static void Prefetch(const void* p) { _mm_prefetch(static_cast<const char*>(p), _MM_HINT_T0); }
  static WordVector LoadWords(const void* p) {
    const auto* halves = static_cast<const __m256i*>(p);
    return {_mm256_loadu_si256(halves), _mm256_loadu_si256(halves + 1)};
  }
  /// Two vectors of BF16 pairs of 64 E4M3 numbers (linear_f8-inl.h).
  static void DecodeF8(const void* p, WordVector& first, WordVector& second) {
    const WordVector codes = LoadWords(p);
    DecodeHalf(codes.low, first.low, second.low);
    DecodeHalf(codes.high, first.high, second.high);
  }
  static void DecodeHalf(__m256i codes, __m256i& first, __m256i& second) {
    const auto bytes = [](uint8_t byte) { return _mm256_set1_epi8(static_cast<char>(byte)); };
    const auto table = [](const uint8_t* bytes) {
      return _mm256_broadcastsi128_si256(_mm_load_si128(reinterpret_cast<const __m128i*>(bytes)));
    };
    const __m256i magnitudes = _mm256_and_si256(codes, bytes(0x7F));
    // Of subnormals alone, codes below 8, the sum leaves the bit clear that makes a shuffle give zero.
    const __m256i fixes = _mm256_add_epi8(magnitudes, bytes(0x78));
    const __m256i upper = _mm256_and_si256(_mm256_srli_epi16(codes, 4), bytes(0x0F));
    const __m256i lower = _mm256_and_si256(_mm256_slli_epi16(codes, 4), bytes(0xF0));
    const __m256i low = _mm256_xor_si256(lower, _mm256_shuffle_epi8(table(kF8Nibbles.fix_low), fixes));
    const __m256i high = _mm256_xor_si256(_mm256_shuffle_epi8(table(kF8Nibbles.high), upper),
                                          _mm256_shuffle_epi8(table(kF8Nibbles.fix_high), fixes));
    const __m256i is_nan = _mm256_cmpeq_epi8(magnitudes, bytes(0x7F));
    const __m256i high_or_nan = _mm256_blendv_epi8(high, codes, is_nan);  // a NaN's is s1111111
    first = _mm256_unpacklo_epi8(low, high_or_nan);
    second = _mm256_unpackhi_epi8(low, high_or_nan);
  }
  /// The first and the second of each pair of BF16.
  static void Widen(const WordVector& v, Vector& even, Vector& odd) {
    const auto first = [](__m256i half) { return _mm256_castsi256_ps(_mm256_slli_epi32(half, 16)); };
    const auto second = [](__m256i half) {
      return _mm256_castsi256_ps(_mm256_and_si256(half, _mm256_set1_epi32(static_cast<int>(0xFFFF0000u))));
    };
    even = {first(v.low), first(v.high)};
    odd = {second(v.low), second(v.high)};
  }
  /// Of four neighbouring bytes, the 1st and 3rd and the 2nd and 4th, as 16 bits.
  struct I8Pairs {
    __m256i even, odd;
  };
  static I8Pairs BroadcastI8(const int8_t* quad) {
    int bytes;
    std::memcpy(&bytes, quad, sizeof(bytes));
    const __m256i all = _mm256_set1_epi32(bytes);
    return {_mm256_srai_epi16(_mm256_slli_epi16(all, 8), 8), _mm256_srai_epi16(all, 8)};
  }
  /// Unsigned bytes of `w` times signed numbers of `x`, added to int32 sums. Products of bytes (vpmaddubsw) would
  /// saturate at 16 bits.
  static Vector MultiplyAddI8(const Vector& sum, const I8Pairs& x, const WordVector& w) {
    return {MultiplyAddI8(sum.low, x, w.low), MultiplyAddI8(sum.high, x, w.high)};
  }
  static __m256 MultiplyAddI8(__m256 sum, const I8Pairs& x, __m256i w) {
    const __m256i even = _mm256_and_si256(w, _mm256_set1_epi16(0xFF)), odd = _mm256_srli_epi16(w, 8);
    const __m256i products = _mm256_add_epi32(_mm256_madd_epi16(even, x.even), _mm256_madd_epi16(odd, x.odd));
    return _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(sum), products));
  }
  /// The int32 in the bits of `sum`, less `offset`, rounded to F32.
  static Vector FloatOfI32(const Vector& sum, int32_t offset) {
    return {FloatOfI32(sum.low, offset), FloatOfI32(sum.high, offset)};
  }
  static __m256 FloatOfI32(__m256 sum, int32_t offset) {
    return _mm256_cvtepi32_ps(_mm256_sub_epi32(_mm256_castps_si256(sum), _mm256_set1_epi32(offset)));
  }
};

#include "runtime/cpu/kernels/linear_tile-inl.h"

}  // namespace

const LinearKernels kLinearAvx2 = kKernels;

}  // namespace nemotron::runtime::cpu
