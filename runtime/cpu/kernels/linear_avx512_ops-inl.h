// F32 and BF16 vectors of 16 outputs in one AVX-512 register. Included inside a namespace by the AVX-512 files.

#include "runtime/cpu/kernels/linear_f8-inl.h"

struct Avx512Ops {
  using Vector = __m512;
  // 24 sums, 3 weights and a broadcast fit 32 registers; 24 sums hide 2 x 4 to 6 cycles of latency.
  static constexpr int kTileRows = 8, kTilePanels = 3;
  // 4 sums hide the latency, and 4 streams are read faster than 8: 90 against 77 GB/s (Zen 5, 2 cores).
  static constexpr int kStreamPanels = 4;
  static __mmask16 Mask(int n) { return static_cast<__mmask16>(0xFFFFu >> (16 - n)); }
  static Vector Zero() { return _mm512_setzero_ps(); }
  static Vector Load(const float* p, int n) { return n == 16 ? _mm512_loadu_ps(p) : _mm512_maskz_loadu_ps(Mask(n), p); }
  static void Store(float* p, Vector v, int n) {
    n == 16 ? _mm512_storeu_ps(p, v) : _mm512_mask_storeu_ps(p, Mask(n), v);
  }
  static Vector Fill(float x) { return _mm512_set1_ps(x); }
  static Vector Broadcast(float x) { return _mm512_set1_ps(x); }
  static Vector Add(Vector a, Vector b) { return _mm512_add_ps(a, b); }
  static Vector Multiply(Vector a, Vector b) { return _mm512_mul_ps(a, b); }
  static Vector MultiplyAdd(Vector sum, Vector x, Vector w) { return _mm512_fmadd_ps(x, w, sum); }
  static Vector Relu2(Vector v) {
    const Vector positive = _mm512_max_ps(v, _mm512_setzero_ps());
    return _mm512_mul_ps(positive, positive);
  }
  static void Prefetch(const void* p) { _mm_prefetch(static_cast<const char*>(p), _MM_HINT_T0); }
  static __m512i Bytes(uint8_t byte) { return _mm512_set1_epi8(static_cast<char>(byte)); }
  /// Two vectors of BF16 pairs of 64 E4M3 numbers (linear_f8-inl.h).
  static void DecodeF8(const void* p, __m512i& first, __m512i& second) {
    const auto table = [](const uint8_t* bytes) {
      return _mm512_broadcast_i32x4(_mm_load_si128(reinterpret_cast<const __m128i*>(bytes)));
    };
    const __m512i codes = _mm512_loadu_si512(p), magnitudes = _mm512_and_si512(codes, Bytes(0x7F));
    // Of subnormals alone, codes below 8, the sum leaves the bit clear that makes a shuffle give zero.
    const __m512i fixes = _mm512_add_epi8(magnitudes, Bytes(0x78));
    const __m512i upper = _mm512_and_si512(_mm512_srli_epi16(codes, 4), Bytes(0x0F));
    const __m512i lower = _mm512_and_si512(_mm512_slli_epi16(codes, 4), Bytes(0xF0));
    const __m512i low = _mm512_xor_si512(lower, _mm512_shuffle_epi8(table(kF8Nibbles.fix_low), fixes));
    const __m512i high = _mm512_xor_si512(_mm512_shuffle_epi8(table(kF8Nibbles.high), upper),
                                          _mm512_shuffle_epi8(table(kF8Nibbles.fix_high), fixes));
    const __mmask64 is_nan = _mm512_cmpeq_epi8_mask(magnitudes, Bytes(0x7F));
    Interleave(low, _mm512_mask_blend_epi8(is_nan, high, codes), first, second);  // a NaN's is s1111111
  }
  static void Interleave(__m512i low, __m512i high, __m512i& first, __m512i& second) {
    first = _mm512_unpacklo_epi8(low, high);
    second = _mm512_unpackhi_epi8(low, high);
  }
  static __m512i BroadcastBytes(const void* four) {
    int bits;
    std::memcpy(&bits, four, sizeof(bits));
    return _mm512_set1_epi32(bits);
  }
  /// The int32 in the bits of `sum`, less `offset`, rounded to F32.
  static Vector FloatOfI32(Vector sum, int32_t offset) {
    return _mm512_cvtepi32_ps(_mm512_sub_epi32(_mm512_castps_si512(sum), _mm512_set1_epi32(offset)));
  }
};

/// Without a BF16 dot product, or with a slow one.
struct Avx512WideningOps : Avx512Ops {
  using Operand = float;
  using WordVector = __m512i;
  static WordVector LoadWords(const void* p) { return _mm512_loadu_si512(p); }
  /// The first and the second of each pair of BF16.
  static void Widen(WordVector v, Vector& even, Vector& odd) {
    even = _mm512_castsi512_ps(_mm512_slli_epi32(v, 16));
    odd = _mm512_castsi512_ps(_mm512_and_si512(v, _mm512_set1_epi32(static_cast<int>(0xFFFF0000u))));
  }
};

#ifdef __AVX512BF16__
/// With VDPBF16PS: two neighbouring k at a time.
struct Avx512DotOps : Avx512Ops {
  using Operand = uint16_t;
  using WordVector = __m512i;
  static WordVector LoadWords(const void* p) { return _mm512_loadu_si512(p); }
  static void StoreWords(void* p, WordVector v) { _mm512_storeu_si512(p, v); }
  static WordVector BroadcastBF16(const uint16_t* pair) { return BroadcastBytes(pair); }
  static Vector MultiplyAddBF16(Vector sum, WordVector x, WordVector w) {
    return _mm512_dpbf16_ps(sum, reinterpret_cast<__m512bh>(x), reinterpret_cast<__m512bh>(w));
  }
};
#endif

#ifdef __AVX512VNNI__
/// `Base` with VPDPBUSD: four neighbouring k of I8 at a time.
template <typename Base>
struct WithVnni : Base {
  using typename Base::Vector;
  static __m512i BroadcastI8(const int8_t* quad) { return Base::BroadcastBytes(quad); }
  /// Unsigned bytes of `w` times signed ones of `x`, added to int32 sums.
  static Vector MultiplyAddI8(Vector sum, __m512i x, __m512i w) {
    return _mm512_castsi512_ps(_mm512_dpbusd_epi32(_mm512_castps_si512(sum), w, x));
  }
};
#endif

#ifdef __AVX512VBMI__
/// `Base` with VPERMT2B, which looks a byte up in a table of 128.
template <typename Base>
struct WithVbmi : Base {
  static void DecodeF8(const void* p, __m512i& first, __m512i& second) {
    const __m512i codes = _mm512_loadu_si512(p);
    const auto look_up = [codes](const uint8_t* table) {
      return _mm512_permutex2var_epi8(_mm512_load_si512(table), codes, _mm512_load_si512(table + 64));
    };
    // 0xF8: a | (b & c), the sign.
    const __m512i high = _mm512_ternarylogic_epi64(look_up(kF8Tables.high), codes, Base::Bytes(0x80), 0xF8);
    Base::Interleave(look_up(kF8Tables.low), high, first, second);
  }
};
#endif
