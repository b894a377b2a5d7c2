// What all kernels share: element types, vectors, reductions. No headers are needed: NVRTC and nvcc both compile it as
// it stands. `StepTables` (runtime/plan/step_tables.h) stands above it in the text of a kernel.

using nemotron::runtime::SequenceEntry;
using nemotron::runtime::StepTables;

using int64 = long long;

//===---- Element types -------------------------------------------------------------------------------------------===//

struct bf16 {
  unsigned short bits;
};
/// E4M3 of the OCP 8-bit floating point specification, as a code.
struct e4m3 {
  unsigned char bits;
};
/// The same number as F16, where tensor cores do not multiply codes.
struct e4m3_as_f16 {
  unsigned short bits;
};

__device__ inline float ToFloat(float value) { return value; }
__device__ inline float ToFloat(bf16 value) { return __uint_as_float(static_cast<unsigned>(value.bits) << 16); }
__device__ inline float ToFloat(e4m3 value) {
  const unsigned sign = (value.bits & 0x80u) << 24, magnitude = value.bits & 0x7Fu;
  const float number = __uint_as_float(magnitude << 20) * 0x1p120f;  // exponent bias 7 to 127, subnormals too
  return __uint_as_float(sign | (magnitude == 0x7Fu ? 0x7FC00000u : __float_as_uint(number)));
}

/// Two numbers rounded to bf16, nearest even; `low` lies in the lower half.
__device__ inline unsigned PackBF16(float low, float high) {
  unsigned packed;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(packed) : "f"(high), "f"(low));
  return packed;
}

/// The code of `value`: nearest even, saturating at 448, a NaN stays one.
__device__ inline unsigned char ToE4M3(float value) {
#if __CUDA_ARCH__ >= 890
  unsigned short pair;
  asm("cvt.rn.satfinite.e4m3x2.f32 %0, %1, %2;" : "=h"(pair) : "f"(0.0f), "f"(value));
  return static_cast<unsigned char>(pair);
#else
  const unsigned bits = __float_as_uint(value), sign = (bits >> 24) & 0x80u, magnitude = bits & 0x7FFFFFFFu;
  const unsigned kept = min(magnitude, __float_as_uint(448.0f));
  const unsigned normal = (kept - (120u << 23) + 0x7FFFFu + ((kept >> 20) & 1u)) >> 20;
  // In [2^14, 2^15) floats are 2^-9 apart, as subnormals are: the adder rounds.
  const unsigned subnormal = __float_as_uint(__uint_as_float(kept) + 0x1p14f) - (141u << 23);
  const unsigned finite = kept < __float_as_uint(0x1p-6f) ? subnormal : normal;
  return static_cast<unsigned char>(sign | (magnitude > 0x7F800000u ? 0x7Fu : finite));
#endif
}

template <class T>
__device__ T FromFloat(float value);
template <>
__device__ inline float FromFloat<float>(float value) {
  return value;
}
template <>
__device__ inline bf16 FromFloat<bf16>(float value) {
  return {static_cast<unsigned short>(PackBF16(value, 0.0f))};
}
template <>
__device__ inline e4m3 FromFloat<e4m3>(float value) {
  return {ToE4M3(value)};
}

template <>
__device__ inline e4m3_as_f16 FromFloat<e4m3_as_f16>(float value) {
  e4m3_as_f16 result;
#if __CUDA_ARCH__ >= 890
  asm("{.reg .b16 high; .reg .b32 pair; cvt.rn.f16x2.e4m3x2 pair, %1; mov.b32 {%0, high}, pair;}"
      : "=h"(result.bits)
      : "h"(static_cast<unsigned short>(ToE4M3(value))));
#else
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(result.bits) : "f"(ToFloat(e4m3{ToE4M3(value)})));
#endif
  return result;
}

/// Where the scale of codes comes from; numbers that are no codes have none.
enum class Scaling { kNone, kToken, kStep, kStatic };

/// The scale of numbers whose absolute maximum is `largest`.
__device__ inline float ScaleOf(float largest) { return fmaxf(largest / 448.0f, 0x1p-126f); }

/// N neighbours that are loaded and stored at once.
template <class T, int N>
struct alignas(sizeof(T) * N) Vector {
  T values[N];
};

template <int N, class T>
__device__ Vector<T, N> LoadVector(const T* from) {
  return *reinterpret_cast<const Vector<T, N>*>(from);
}

/// What holds so many bytes, and is stored at once.
template <int kBytes>
struct Word;
template <>
struct Word<1> {
  using Type = unsigned char;
};
template <>
struct Word<2> {
  using Type = unsigned short;
};
template <>
struct Word<4> {
  using Type = unsigned;
};
template <>
struct Word<8> {
  using Type = unsigned long long;
};
template <>
struct Word<16> {
  using Type = uint4;
};

/// As one store, which nvcc does not always make of an assignment of small elements.
template <int N, class T>
__device__ void StoreVector(T* to, const Vector<T, N>& vector) {
  typename Word<sizeof(vector)>::Type word;
  memcpy(&word, &vector, sizeof(word));
  *reinterpret_cast<decltype(word)*>(to) = word;
}

/// Where a state lies in the slot of a sequence. The compiler is told that this is global memory, which it cannot know
/// of a pointer from a table.
template <class T>
__device__ T* SlotPointer(const SequenceEntry& sequence, int64 offset) {
  char* pointer = sequence.slot + offset;
  __builtin_assume(__isGlobal(pointer));
  return reinterpret_cast<T*>(pointer);
}

//===---- Functions -----------------------------------------------------------------------------------------------===//

__device__ inline float Silu(float x) { return x / (1.0f + expf(-x)); }
__device__ inline float Relu2(float x) {
  const float positive = fmaxf(x, 0.0f);
  return positive * positive;
}

enum class Activation { kNone, kRelu2, kSilu };

template <Activation kActivation>
__device__ float Activate(float x) {
  if constexpr (kActivation == Activation::kRelu2) {
    return Relu2(x);
  } else if constexpr (kActivation == Activation::kSilu) {
    return Silu(x);
  } else {
    return x;
  }
}

//===---- Reductions: their order is fixed, so that results repeat -----------------------------------------------===//

struct Sum {
  static __device__ float Of(float a, float b) { return a + b; }
};
struct Max {
  static __device__ float Of(float a, float b) { return fmaxf(a, b); }  // of a NaN and a number the number
};

/// Over a warp; all lanes get the result.
template <class Op>
__device__ float WarpReduce(float value) {
  for (int distance = 16; distance > 0; distance /= 2) {
    value = Op::Of(value, __shfl_xor_sync(~0u, value, distance));
  }
  return value;
}

/// Over a block of kThreads; all threads get the result. `scratch` holds kThreads / 32 floats and may be used again
/// after the next barrier.
template <class Op, int kThreads>
__device__ float BlockReduce(float value, float* scratch) {
  value = WarpReduce<Op>(value);
  if (threadIdx.x % 32 == 0) {
    scratch[threadIdx.x / 32] = value;
  }
  __syncthreads();
  float result = scratch[0];
  for (int warp = 1; warp < kThreads / 32; ++warp) {
    result = Op::Of(result, scratch[warp]);
  }
  return result;
}

/// Gathers the maximum of numbers that are not negative, in any order with the same result; `to` is zero at first.
__device__ inline void GatherMaximum(float* to, float value) {
  atomicMax(reinterpret_cast<int*>(to), __float_as_int(value));  // such floats are ordered as their bits are
}

/// Where the rows of an activation lie: T or R of them.
template <class Config>
__device__ int NumRows(const StepTables& step) {
  return Config::kRowSpace ? step.num_rows : step.num_tokens;
}
