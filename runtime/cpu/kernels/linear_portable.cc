// No instruction set in particular: the compiler vectorises what it can.
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <type_traits>

#include "runtime/base/dtype.h"
#include "runtime/cpu/kernels/linear_tile.h"
#include "runtime/plan/layout.h"

namespace nemotron::runtime::cpu {
namespace {

struct Ops {
  using Operand = float;
  struct Vector {
    float lanes[16];
  };
  struct WordVector {
    uint32_t pairs[16];
  };
  static constexpr int kTileRows = 4, kTilePanels = 1;
  static constexpr int kStreamPanels = 1;
  static Vector Zero() { return {}; }
  static Vector Load(const float* p, int n) {
    Vector v{};
    std::memcpy(v.lanes, p, n * sizeof(float));
    return v;
  }
  static void Store(float* p, const Vector& v, int n) { std::memcpy(p, v.lanes, n * sizeof(float)); }
  static Vector Fill(float x) {
    Vector v;
    std::fill_n(v.lanes, 16, x);
    return v;
  }
  static float Broadcast(float x) { return x; }
  static Vector Add(const Vector& a, const Vector& b) {
    Vector v;
    for (int i = 0; i < 16; ++i) {
      v.lanes[i] = a.lanes[i] + b.lanes[i];
    }
    return v;
  }
  static Vector Multiply(const Vector& a, const Vector& b) {
    Vector v;
    for (int i = 0; i < 16; ++i) {
      v.lanes[i] = a.lanes[i] * b.lanes[i];
    }
    return v;
  }
  static Vector MultiplyAdd(Vector sum, float x, const Vector& w) {
    for (int i = 0; i < 16; ++i) {
      sum.lanes[i] += x * w.lanes[i];
    }
    return sum;
  }
  static Vector Relu2(Vector v) {
    for (float& x : v.lanes) {
      x = x > 0 ? x * x : 0;
    }
    return v;
  }
  static void Prefetch(const void*) {}
  static WordVector LoadWords(const void* p) {
    WordVector v;
    std::memcpy(v.pairs, p, sizeof(v.pairs));
    return v;
  }
  static void DecodeF8(const void* p, WordVector& first, WordVector& second) {
    const auto* codes = static_cast<const uint8_t*>(p);
    uint16_t decoded[64];
    for (int i = 0; i < 64; ++i) {
      decoded[i] = static_cast<uint16_t>(std::bit_cast<uint32_t>(F8E4M3ToF32(codes[i])) >> 16);
    }
    for (int run = 0; run < 4; ++run) {  // of 4 rows, runtime/plan/layout.h
      std::memcpy(first.pairs + run * 4, decoded + run * 16, 16);
      std::memcpy(second.pairs + run * 4, decoded + run * 16 + 8, 16);
    }
  }
  /// The first and the second of each pair of BF16.
  static void Widen(const WordVector& v, Vector& even, Vector& odd) {
    for (int i = 0; i < 16; ++i) {
      even.lanes[i] = std::bit_cast<float>(v.pairs[i] << 16);
      odd.lanes[i] = std::bit_cast<float>(v.pairs[i] & 0xFFFF0000u);
    }
  }
  /// Four numbers, each in a word.
  struct Quad {
    int32_t values[4];
  };
  static Quad BroadcastI8(const int8_t* quad) { return {quad[0], quad[1], quad[2], quad[3]}; }
  /// Unsigned bytes of `w` times signed numbers of `x`, added to int32 sums, which may wrap on their way.
  static Vector MultiplyAddI8(Vector sum, const Quad& x, const WordVector& w) {
    for (int i = 0; i < 16; ++i) {
      const uint32_t word = w.pairs[i];
      const int32_t products =
          static_cast<int32_t>(word & 0xFF) * x.values[0] + static_cast<int32_t>(word >> 8 & 0xFF) * x.values[1] +
          static_cast<int32_t>(word >> 16 & 0xFF) * x.values[2] + static_cast<int32_t>(word >> 24) * x.values[3];
      sum.lanes[i] = std::bit_cast<float>(std::bit_cast<uint32_t>(sum.lanes[i]) + static_cast<uint32_t>(products));
    }
    return sum;
  }
  /// The int32 in the bits of `sum`, less `offset`, rounded to F32.
  static Vector FloatOfI32(Vector sum, int32_t offset) {
    for (float& lane : sum.lanes) {
      lane = static_cast<float>(static_cast<int32_t>(std::bit_cast<uint32_t>(lane) - static_cast<uint32_t>(offset)));
    }
    return sum;
  }
};

#include "runtime/cpu/kernels/linear_tile-inl.h"

}  // namespace

const LinearKernels kLinearPortable = kKernels;

}  // namespace nemotron::runtime::cpu
