// The state of a warp in its registers, and the three products that tensor cores make with it: c . b, c . h and b x. It
// owns ScanState, where elements and channels lie, and how an operand of F32 is split; scan.cuh says why.

#include "codegen/cuda/kernels/scan_chunk.cuh"

/// Two floats as the sum of two BF16 each.
struct SplitPair {
  SplitPair() = default;
  __device__ SplitPair(float first, float second) : high(PackBF16(first, second)) {
    low = PackBF16(first - __uint_as_float(high << 16), second - __uint_as_float(high & 0xFFFF0000u));
  }
  unsigned high, low;
};

/// sum += a * b, without low * low. Operands of m16n8k16 as lanes have them.
__device__ inline void MultiplySplit(float (&sum)[4], const SplitPair (&a)[4], const SplitPair (&b)[2]) {
  const uint4 high = {a[0].high, a[1].high, a[2].high, a[3].high}, low = {a[0].low, a[1].low, a[2].low, a[3].low};
  const unsigned b_high[2] = {b[0].high, b[1].high}, b_low[2] = {b[0].low, b[1].low};
  MultiplyBF16(sum, high, b_high);
  MultiplyBF16(sum, high, b_low);
  MultiplyBF16(sum, low, b_high);
}

/// A warp's part of the state, [32 elements][32 channels], as operand and sum of tensor cores: tiles of 16 channels
/// (rows) by 8 elements (columns). Element 16k + 2c + q is column c of tile [k][q], channel 4g + 2m + r row g + 8r of
/// tile [m].
template <class Config>
struct ScanState {
  using State = typename Config::State;
  using Shape = ScanShape<Config>;

  /// From the head's state in the slot: elements from first_element on, channels from first_channel on.
  __device__ void Load(const State* head, int first_element, int first_channel) {
    first_element += threadIdx.x % 4 * 4;
    first_channel += threadIdx.x % 32 / 4 * 4;
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      const int element = first_element + i / 4 * 16 + i % 4;
#pragma unroll
      for (int v = 0; v < 4; v += Config::kVector) {
        Vector<State, Config::kVector> loaded = {};
        if (Shape::HasElement(element) && Shape::HasChannel(first_channel + v)) {
          loaded = LoadVector<Config::kVector>(head + element * Config::kHeadDim + first_channel + v);
        }
#pragma unroll
        for (int j = 0; j < Config::kVector; ++j) {
          At(i, v + j) = ToFloat(loaded.values[j]);
        }
      }
    }
  }

  __device__ void Store(State* head, int first_element, int first_channel) {
    first_element += threadIdx.x % 4 * 4;
    first_channel += threadIdx.x % 32 / 4 * 4;
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      const int element = first_element + i / 4 * 16 + i % 4;
#pragma unroll
      for (int v = 0; v < 4; v += Config::kVector) {
        Vector<State, Config::kVector> stored;
#pragma unroll
        for (int j = 0; j < Config::kVector; ++j) {
          stored.values[j] = FromFloat<State>(At(i, v + j));
        }
        if (Shape::HasElement(element) && Shape::HasChannel(first_channel + v)) {
          StoreVector<Config::kVector>(head + element * Config::kHeadDim + first_channel + v, stored);
        }
      }
    }
  }

  /// Element i / 4 * 16 + 4t + i % 4 of channel 4g + channel.
  __device__ float& At(int i, int channel) { return values[i / 4][i % 2][channel / 2][channel % 2 * 2 + i % 4 / 2]; }

  float values[2][2][2][4];  // [k][q][m][register]
};

/// c . b and c . h over the elements of this warp: sums of h are [m][n] for tokens 8n to 8n + 7.
template <class Config>
__device__ void MultiplyStates(ScanShared<Config>& shared, const float (&inputs)[2][kTile],
                               const ScanState<Config>& state, float (&sums)[2][2][4]) {
  const int warp = threadIdx.x / 32, g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
  float products[2][4] = {};
#pragma unroll
  for (int k = 0; k < 2; ++k) {
    SplitPair b[2][2], c[2][2];  // [tokens g or g + 8][q]: elements 16k + 4t + q and + 2
#pragma unroll
    for (int n = 0; n < 2; ++n) {
      const float4 b_four = LoadFour(inputs[0], n * 8 + g, k * 16 + t * 4);
      const float4 c_four = LoadFour(inputs[1], n * 8 + g, k * 16 + t * 4);
      b[n][0] = SplitPair(b_four.x, b_four.z);
      b[n][1] = SplitPair(b_four.y, b_four.w);
      c[n][0] = SplitPair(c_four.x, c_four.z);
      c[n][1] = SplitPair(c_four.y, c_four.w);
    }
    const SplitPair c_rows[4] = {c[0][0], c[1][0], c[0][1], c[1][1]};
#pragma unroll
    for (int n = 0; n < 2; ++n) {
      MultiplySplit(products[n], c_rows, b[n]);
    }
#pragma unroll
    for (int m = 0; m < 2; ++m) {
      const float(&first)[4] = state.values[k][0][m], (&second)[4] = state.values[k][1][m];
      const SplitPair rows[4] = {
          {first[0], first[1]}, {first[2], first[3]}, {second[0], second[1]}, {second[2], second[3]}};
#pragma unroll
      for (int n = 0; n < 2; ++n) {
        MultiplySplit(sums[m][n], rows, c[n]);
      }
    }
  }
#pragma unroll
  for (int n = 0; n < 2; ++n) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      *reinterpret_cast<float2*>(&shared.products[warp][n][(g + half * 8) * 8 + t * 2]) = {products[n][half * 2],
                                                                                           products[n][half * 2 + 1]};
    }
  }
}

/// The sums of c . h of this warp, for StoreOutputs.
template <class Config>
__device__ void StorePartial(ScanShared<Config>& shared, const float (&sums)[2][2][4]) {
  const int warp = threadIdx.x / 32, g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
#pragma unroll
  for (int n = 0; n < 2; ++n) {
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const float4 four = {sums[0][n][i], sums[0][n][i + 2], sums[1][n][i], sums[1][n][i + 2]};
      *reinterpret_cast<float4*>(&shared.partial[warp][TileIndex(n * 8 + 2 * t + i, 4 * g)]) = four;
    }
  }
}

/// What a full chunk does to the state.
template <class Config>
__device__ void UpdateState(const ScanShared<Config>& shared, const float (&b)[kTile], const float (&x)[kTile],
                            ScanState<Config>& state) {
  const int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
  const float(&factors)[kChunk + 4] = shared.factors[kChunk - 1];
  float channels[4][4];  // of tokens 2t, 2t + 1, 2t + 8, 2t + 9
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const int token = 2 * t + i % 2 + i / 2 * 8;
    const float4 four = LoadFour(x, token, 4 * g);
    channels[i][0] = __fmul_rn(factors[token], four.x);
    channels[i][1] = __fmul_rn(factors[token], four.y);
    channels[i][2] = __fmul_rn(factors[token], four.z);
    channels[i][3] = __fmul_rn(factors[token], four.w);
  }
  SplitPair rows[2][4];
#pragma unroll
  for (int m = 0; m < 2; ++m) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int channel = 2 * m + i % 2, token = i / 2 * 2;
      rows[m][i] = SplitPair(channels[token][channel], channels[token + 1][channel]);
    }
  }
  const float decay = factors[kChunk];
#pragma unroll
  for (int k = 0; k < 2; ++k) {
    float2 elements[4];  // 16k + 2g and + 1, of these tokens
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      elements[i] = *reinterpret_cast<const float2*>(&b[TileIndex(2 * t + i % 2 + i / 2 * 8, k * 16 + 2 * g)]);
    }
#pragma unroll
    for (int q = 0; q < 2; ++q) {
      SplitPair columns[2];
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        const float2 first = elements[2 * i], second = elements[2 * i + 1];
        columns[i] = q == 0 ? SplitPair(first.x, second.x) : SplitPair(first.y, second.y);
      }
#pragma unroll
      for (int m = 0; m < 2; ++m) {
        float(&sum)[4] = state.values[k][q][m];
#pragma unroll
        for (int j = 0; j < 4; ++j) {
          sum[j] *= decay;
        }
        MultiplySplit(sum, rows[m], columns);
#pragma unroll
        for (int j = 0; j < 4; ++j) {
          sum[j] = ToFloat(FromFloat<typename Config::State>(sum[j]));  // the state is rounded where a chunk ends
        }
      }
    }
  }
}
