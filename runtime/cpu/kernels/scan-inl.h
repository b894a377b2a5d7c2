// Vector code of the scan: one head of one chunk as products of small matrices. Included per target by scan.cc.

#if defined(RUNTIME_CPU_KERNELS_SCAN_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef RUNTIME_CPU_KERNELS_SCAN_INL_H_
#undef RUNTIME_CPU_KERNELS_SCAN_INL_H_
#else
#define RUNTIME_CPU_KERNELS_SCAN_INL_H_
#endif

#include "runtime/cpu/kernels/vector-inl.h"

HWY_BEFORE_NAMESPACE();
namespace nemotron::runtime::cpu {
namespace HWY_NAMESPACE {

/// A vector of the state: how it lies in memory.
struct F32State {
  using Element = float;
  static HWY_INLINE FloatVector Load(const float* p, int64_t n) { return LoadUpTo(p, n); }
  static HWY_INLINE void Store(FloatVector v, float* p, int64_t n) { StoreUpTo(v, p, n); }
};

struct BF16State {
  using Element = uint16_t;
  static HWY_INLINE FloatVector Load(const uint16_t* p, int64_t n) { return LoadBF16UpTo(p, n); }
  static HWY_INLINE void Store(FloatVector v, uint16_t* p, int64_t n) { StoreBF16UpTo(RoundToBF16(v), p, n); }
};

/// Register tiles: 8 rows x 2 vectors of sums, 2 of the right side and a broadcast fit the 32 registers of AVX-512 and
/// hide the latency of the multiply-add; 4 x 2 fit 16. One row takes 4 vectors, a whole row of a head of 64.
constexpr int kScanTileRows = kLanes >= 16 ? 8 : 4;
constexpr int kScanTileVectors = 2, kScanRowVectors = 4;

/// Elements of the state that one token fetches ahead.
constexpr int64_t kScanAhead = 512;

// All indices into arrays of vectors are constants once loops are unrolled; only then are they kept in registers.

/// Outputs of tokens [token, token + kRows), vectors of channels from `column` on, of which `n` channels are there:
///   y_j = decay_j * (c_j . state) + sum over i <= j, ascending, of weight_ji * x_i.
template <typename State, int kRows, int kVectors>
void ScanOutputTile(const ScanHeadChunk& head, int64_t token, int64_t column, int64_t n) {
  const int64_t row = token - head.first;
  const float* c[kRows];
  FloatVector sums[kRows][kVectors];
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
    c[r] = reinterpret_cast<const float*>(head.c + (row + r) * head.c_row_bytes);
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) {
      sums[r][v] = hn::Zero(kFloats);
    }
  }
  const auto* state = reinterpret_cast<const typename State::Element*>(head.state) + column;
  for (int64_t i = 0; i < head.state_size; ++i, state += head.head_dim) {
    FloatVector s[kVectors];
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) {
      if constexpr (kRows == 1) {
        __builtin_prefetch(state + v * kLanes + kScanAhead);
      }
      s[v] = State::Load(state + v * kLanes, kVectors == 1 ? n : kLanes);
    }
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
      const FloatVector weight = hn::Set(kFloats, c[r][i]);
#pragma GCC unroll 8
      for (int v = 0; v < kVectors; ++v) {
        sums[r][v] = hn::MulAdd(weight, s[v], sums[r][v]);
      }
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
    const FloatVector decay = hn::Set(kFloats, head.decays[token + r]);
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) {
      sums[r][v] = hn::Mul(decay, sums[r][v]);
    }
  }
  const float* weights = head.weights + token * kScanChunk;
  for (int64_t i = 0; i < token; ++i) {
    const float* x = head.x + i * head.padded_dim + column;
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
      const FloatVector weight = hn::Set(kFloats, weights[r * kScanChunk + i]);
#pragma GCC unroll 8
      for (int v = 0; v < kVectors; ++v) {
        sums[r][v] = hn::MulAdd(weight, hn::LoadU(kFloats, x + v * kLanes), sums[r][v]);
      }
    }
  }
  // The tile's own tokens: none reaches an earlier one, not even with a weight of 0, for it may be no number.
#pragma GCC unroll 8
  for (int i = 0; i < kRows; ++i) {
    const float* x = head.x + (token + i) * head.padded_dim + column;
#pragma GCC unroll 8
    for (int r = i; r < kRows; ++r) {
      const FloatVector weight = hn::Set(kFloats, weights[r * kScanChunk + token + i]);
#pragma GCC unroll 8
      for (int v = 0; v < kVectors; ++v) {
        sums[r][v] = hn::MulAdd(weight, hn::LoadU(kFloats, x + v * kLanes), sums[r][v]);
      }
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
    float* y = reinterpret_cast<float*>(head.y + (row + r) * head.y_row_bytes) + column;
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) {
      StoreUpTo(sums[r][v], y + v * kLanes, kVectors == 1 ? n : kLanes);
    }
  }
}

template <typename State, int kRows>
void ScanOutputRows(const ScanHeadChunk& head, int64_t token) {
  constexpr int kVectors = kRows == 1 ? kScanRowVectors : kScanTileVectors;
  int64_t column = 0;
  for (; column + kVectors * kLanes <= head.head_dim; column += kVectors * kLanes) {
    ScanOutputTile<State, kRows, kVectors>(head, token, column, kLanes);
  }
  for (; column < head.head_dim; column += kLanes) {
    ScanOutputTile<State, kRows, 1>(head, token, column, head.head_dim - column);
  }
}

/// The same for `num_rows` tokens, at most kMost.
template <typename State, int kMost>
void ScanOutputUpTo(const ScanHeadChunk& head, int64_t token, int64_t num_rows) {
  if (num_rows == kMost) {
    return ScanOutputRows<State, kMost>(head, token);
  }
  if constexpr (kMost > 1) {
    ScanOutputUpTo<State, kMost - 1>(head, token, num_rows);
  }
}

/// Rows [row, row + kRows) of the state, vectors of channels from `column` on:
///   state = decay * state + sum over the tokens of the chunk, ascending, of b_i * x_i, where x_i has its weight in it.
template <typename State, int kRows, int kVectors>
void ScanStateTile(const ScanHeadChunk& head, float decay, int64_t row, int64_t column, int64_t n) {
  auto* state = reinterpret_cast<typename State::Element*>(head.state) + row * head.head_dim + column;
  const FloatVector decays = hn::Set(kFloats, decay);
  FloatVector sums[kRows][kVectors];
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) {
      const auto* p = state + r * head.head_dim + v * kLanes;
      sums[r][v] = hn::Mul(decays, State::Load(p, kVectors == 1 ? n : kLanes));
    }
  }
  for (int64_t i = 0; i < kScanChunk; ++i) {
    const float* x = head.x + i * head.padded_dim + column;
    const float* b = head.b[i] + row;
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
      const FloatVector weight = hn::Set(kFloats, b[r]);
#pragma GCC unroll 8
      for (int v = 0; v < kVectors; ++v) {
        sums[r][v] = hn::MulAdd(weight, hn::LoadU(kFloats, x + v * kLanes), sums[r][v]);
      }
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) {
      State::Store(sums[r][v], state + r * head.head_dim + v * kLanes, kVectors == 1 ? n : kLanes);
    }
  }
}

template <typename State, int kRows>
void ScanStateRows(const ScanHeadChunk& head, float decay, int64_t row) {
  int64_t column = 0;
  for (; column + kScanTileVectors * kLanes <= head.head_dim; column += kScanTileVectors * kLanes) {
    ScanStateTile<State, kRows, kScanTileVectors>(head, decay, row, column, kLanes);
  }
  for (; column < head.head_dim; column += kLanes) {
    ScanStateTile<State, kRows, 1>(head, decay, row, column, head.head_dim - column);
  }
}

template <typename State>
void RunScanHeadOf(const ScanHeadChunk& head, const ScanStep& last, float* x) {
  for (int64_t token = head.first; token < head.end; token += kScanTileRows) {
    ScanOutputUpTo<State, kScanTileRows>(head, token, std::min<int64_t>(kScanTileRows, head.end - token));
  }
  if (head.end < kScanChunk) {
    return;
  }
  for (int64_t i = 0; i < kScanChunk; ++i) {
    const FloatVector weight = hn::Set(kFloats, last.weights[i]);
    ForVectors(head.padded_dim, [&](int64_t at, int64_t) {
      float* p = x + i * head.padded_dim + at;
      hn::StoreU(hn::Mul(weight, hn::LoadU(kFloats, p)), kFloats, p);
    });
  }
  int64_t row = 0;
  for (; row + kScanTileRows <= head.state_size; row += kScanTileRows) {
    ScanStateRows<State, kScanTileRows>(head, last.decay, row);
  }
  for (; row < head.state_size; ++row) {
    ScanStateRows<State, 1>(head, last.decay, row);
  }
}

/// softplus(raw + bias) within [minimum, maximum]; NaN stays. All kScanChunk of them: their cost is that of one.
void TimeSteps(const float* raw, float bias, float minimum, float maximum, float* steps) {
  ForVectors(kScanChunk, [&](int64_t i, int64_t) {
    const FloatVector v = hn::Add(hn::LoadU(kFloats, raw + i), hn::Set(kFloats, bias));
    const FloatVector linear_from = hn::Set(kFloats, 20.0f);
    const FloatVector soft = hn::Log1p(kFloats, hn::Exp(kFloats, hn::Min(v, linear_from)));
    const FloatVector step = hn::IfThenElse(hn::Le(v, linear_from), soft, v);
    const FloatVector low = hn::Set(kFloats, minimum), high = hn::Set(kFloats, maximum);
    const FloatVector raised = hn::IfThenElse(hn::Lt(step, low), low, step);
    hn::StoreU(hn::IfThenElse(hn::Gt(raised, high), high, raised), kFloats, steps + i);
  });
}

/// The factors of tokens [first, end): what token i < kScanChunk adds to token j, without c . b, and what is left of
/// the state. A logarithm of decay is summed from one token to the other, ascending, never as a difference of two sums,
/// which would lose digits.
void ChunkDecays(const float* steps, float a, int64_t first, int64_t end, float (*weights)[kScanChunk], float* decays) {
  HWY_ALIGN float since[kScanChunk] = {};  // token i: sum of a * steps over tokens after i up to j
  float since_begin = 0;
  for (int64_t j = 0; j < end; ++j) {
    const float decay = a * steps[j];
    since_begin += decay;
    ForVectors(kScanChunk, [&](int64_t i, int64_t) {
      const FloatVector lanes = hn::Add(hn::Iota(kFloats, 0.0f), hn::Set(kFloats, static_cast<float>(i)));
      const auto is_earlier = hn::Lt(lanes, hn::Set(kFloats, static_cast<float>(j)));
      const FloatVector sum = hn::Add(hn::Load(kFloats, since + i), hn::Set(kFloats, decay));
      hn::Store(hn::IfThenElseZero(is_earlier, sum), kFloats, since + i);
    });
    if (j >= first) {
      ForVectors(kScanChunk, [&](int64_t i, int64_t) {
        const FloatVector left = hn::Exp(kFloats, hn::Load(kFloats, since + i));
        hn::StoreU(hn::Mul(left, hn::LoadU(kFloats, steps + i)), kFloats, weights[j] + i);
      });
      decays[j] = hn::GetLane(hn::Exp(kFloats, hn::Set(kFloats, since_begin)));
    }
  }
}

float Dot(const float* a, const float* b, int64_t size) {
  return SumVectors(size, [&](int64_t i, int64_t n) { return hn::Mul(LoadUpTo(a + i, n), LoadUpTo(b + i, n)); });
}

void RunScanHead(const ScanHeadChunk& head, const ScanStep& last, float* x) {
  head.state_dtype == DType::kBF16 ? RunScanHeadOf<BF16State>(head, last, x) : RunScanHeadOf<F32State>(head, last, x);
}

void RunSkipGateNorm(const SkipGateNorm& run) {
  const int64_t size = run.num_heads * run.head_dim;
  for (int64_t h = 0; h < run.num_heads; ++h) {
    const FloatVector d = hn::Set(kFloats, run.d[h]);
    const int64_t at = h * run.head_dim;
    ForVectors(run.head_dim, [&](int64_t i, int64_t n) {
      const FloatVector y = hn::MulAdd(d, LoadUpTo(run.x + at + i, n), LoadUpTo(run.y + at + i, n));
      StoreUpTo(hn::Mul(y, Silu(LoadUpTo(run.gate + at + i, n))), run.y + at + i, n);
    });
  }
  const float squares = SumVectors(size, [&](int64_t i, int64_t n) {
    const FloatVector v = LoadUpTo(run.y + i, n);
    return hn::Mul(v, v);
  });
  const FloatVector scale = hn::Set(kFloats, 1.0f / std::sqrt(squares / static_cast<float>(size) + run.eps));
  ForVectors(size, [&](int64_t i, int64_t n) {
    StoreUpTo(hn::Mul(hn::Mul(LoadUpTo(run.y + i, n), scale), LoadUpTo(run.weight + i, n)), run.y + i, n);
  });
}

}  // namespace HWY_NAMESPACE
}  // namespace nemotron::runtime::cpu
HWY_AFTER_NAMESPACE();

#endif  // toggle
