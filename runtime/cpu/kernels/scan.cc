// The selective scan of Mamba-2, alone or with skip and gated norm.
//
// A task owns one group of one sequence: its heads share b and c, and the norm runs over its channels. Tokens pass in
// blocks; b and c of a block are packed once into L1. Then, for each pair of state rows [N], the rows stay in registers
// while all tokens of the block pass by: 3 vector operations per 16 state elements and token, so the scan is bound by
// the multiply-add units in prefill and by the bytes of the state (read and written once a step) in decode. Arithmetic
// is F32. A state kept in BF16 is rounded after every token, in registers (5 more operations), and not just when it is
// stored: a step may then end after any token and change nothing.
//
// Why token after token and not the chunked form with matrix products (arXiv:2405.21060, section 6): results then do
// not depend on where chunks begin, bit for bit, and at N = 128 the cost is a few percent of the matrices around it.
#include <algorithm>
#include <cmath>

#include "runtime/cpu/kernels/argument_reader.h"
#include "runtime/cpu/kernels/kernels.h"
#include "runtime/cpu/thread_pool.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "runtime/cpu/kernels/scan.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "runtime/cpu/kernels/vector-inl.h"

#ifndef RUNTIME_CPU_KERNELS_SCAN_ONCE_
#define RUNTIME_CPU_KERNELS_SCAN_ONCE_
namespace nemotron::runtime::cpu {

/// Tokens whose b and c are packed together: at N = 128 they take 32 KiB.
constexpr int64_t kScanTokens = 32;
/// State sizes are padded to this in packed b and c, a multiple of every vector length.
constexpr int64_t kScanPadding = 16;

/// A block of tokens of one head.
struct ScanBlock {
  const float* b;  // [tokens][padded_size], zero past state_size
  const float* c;
  const char* x;  // [tokens][head_dim], rows x_row_bytes apart
  int64_t x_row_bytes;
  const float* dt;     // [tokens], after softplus
  const float* decay;  // [tokens], exp(dt * A)
  std::byte* state;    // [head_dim][state_size] of state_dtype
  DType state_dtype;   // kF32 or kBF16
  float* y;            // [tokens][y_stride], is set
  int64_t y_stride;
  int64_t num_tokens, head_dim, state_size, padded_size;
};

/// A run of channels of one token: v = (y + d * x) * silu(gate), divided by its root mean square, times weight.
struct SkipGateNorm {
  const float* y;
  const float* x;
  const float* gate;
  const float* d;  // [heads of the group]
  const float* weight;
  float* output;
  int64_t num_heads, head_dim;
  float eps;
};

}  // namespace nemotron::runtime::cpu
#endif

HWY_BEFORE_NAMESPACE();
namespace nemotron::runtime::cpu {
namespace HWY_NAMESPACE {

/// A vector of the state: how it lies in memory, and what of it survives a token.
struct F32State {
  using Element = float;
  static HWY_INLINE FloatVector Load(const float* p, int64_t n) { return LoadUpTo(p, n); }
  static HWY_INLINE void Store(FloatVector v, float* p, int64_t n) { StoreUpTo(v, p, n); }
  static HWY_INLINE FloatVector Round(FloatVector v) { return v; }
};

struct BF16State {
  using Element = uint16_t;
  static HWY_INLINE FloatVector Load(const uint16_t* p, int64_t n) { return LoadBF16UpTo(p, n); }
  static HWY_INLINE void Store(FloatVector v, uint16_t* p, int64_t n) { StoreBF16UpTo(v, p, n); }
  static HWY_INLINE FloatVector Round(FloatVector v) { return RoundToBF16(v); }
};

/// Rows [row, row + kRows) of the state, vectors [first, first + kVectors) of each, over all tokens of the block.
template <typename State, int kRows, int kVectors>
void ScanRows(const ScanBlock& block, int64_t row, int64_t first) {
  auto* rows = reinterpret_cast<typename State::Element*>(block.state) + row * block.state_size;
  FloatVector state[kRows][kVectors];
  const int64_t column = first * kLanes;
  for (int r = 0; r < kRows; ++r) {
    for (int v = 0; v < kVectors; ++v) {
      const int64_t at = column + v * kLanes;
      state[r][v] = State::Load(rows + r * block.state_size + at, block.state_size - at);
    }
  }
  for (int64_t t = 0; t < block.num_tokens; ++t) {
    const FloatVector decay = hn::Set(kFloats, block.decay[t]);
    const auto* x = reinterpret_cast<const float*>(block.x + t * block.x_row_bytes) + row;
    FloatVector inputs[kRows], sums[kRows];
    for (int r = 0; r < kRows; ++r) {
      inputs[r] = hn::Set(kFloats, block.dt[t] * x[r]);
      sums[r] = hn::Zero(kFloats);
    }
    for (int v = 0; v < kVectors; ++v) {
      const FloatVector b = hn::LoadU(kFloats, block.b + t * block.padded_size + column + v * kLanes);
      const FloatVector c = hn::LoadU(kFloats, block.c + t * block.padded_size + column + v * kLanes);
      for (int r = 0; r < kRows; ++r) {
        const FloatVector next = hn::MulAdd(inputs[r], b, hn::Mul(decay, state[r][v]));
        sums[r] = hn::MulAdd(next, c, sums[r]);
        state[r][v] = State::Round(next);
      }
    }
    float* y = block.y + t * block.y_stride + row;
    for (int r = 0; r < kRows; ++r) {
      const float sum = hn::GetLane(hn::SumOfLanes(kFloats, sums[r]));
      y[r] = first == 0 ? sum : y[r] + sum;
    }
  }
  for (int r = 0; r < kRows; ++r) {
    for (int v = 0; v < kVectors; ++v) {
      const int64_t at = column + v * kLanes;
      State::Store(state[r][v], rows + r * block.state_size + at, block.state_size - at);
    }
  }
}

/// Runs of vectors of one pair of rows: 2 x 8 state vectors fit the 32 registers of AVX-512, 2 x 4 the 16 of others.
template <typename State, int kRows>
void ScanRowPair(const ScanBlock& block, int64_t row) {
  constexpr int kMost = kLanes >= 16 ? 8 : 4;
  const int64_t vectors = (block.state_size + kLanes - 1) / kLanes;
  int64_t first = 0;
  for (; first + kMost <= vectors; first += kMost) {
    ScanRows<State, kRows, kMost>(block, row, first);
  }
  if (first + kMost / 2 <= vectors) {
    ScanRows<State, kRows, kMost / 2>(block, row, first);
    first += kMost / 2;
  }
  for (; first < vectors; ++first) {
    ScanRows<State, kRows, 1>(block, row, first);
  }
}

template <typename State>
void ScanAllRows(const ScanBlock& block) {
  int64_t row = 0;
  for (; row + 2 <= block.head_dim; row += 2) {
    ScanRowPair<State, 2>(block, row);
  }
  if (row < block.head_dim) {
    ScanRowPair<State, 1>(block, row);
  }
}

void ScanHead(const ScanBlock& block) {
  block.state_dtype == DType::kBF16 ? ScanAllRows<BF16State>(block) : ScanAllRows<F32State>(block);
}

void RunSkipGateNorm(const SkipGateNorm& run) {
  const int64_t size = run.num_heads * run.head_dim;
  for (int64_t h = 0; h < run.num_heads; ++h) {
    const FloatVector d = hn::Set(kFloats, run.d[h]);
    const int64_t at = h * run.head_dim;
    ForVectors(run.head_dim, [&](int64_t i, int64_t n) {
      const FloatVector y = hn::MulAdd(d, LoadUpTo(run.x + at + i, n), LoadUpTo(run.y + at + i, n));
      StoreUpTo(hn::Mul(y, Silu(LoadUpTo(run.gate + at + i, n))), run.output + at + i, n);
    });
  }
  const float squares = SumVectors(size, [&](int64_t i, int64_t n) {
    const FloatVector v = LoadUpTo(run.output + i, n);
    return hn::Mul(v, v);
  });
  const FloatVector scale = hn::Set(kFloats, 1.0f / std::sqrt(squares / static_cast<float>(size) + run.eps));
  ForVectors(size, [&](int64_t i, int64_t n) {
    StoreUpTo(hn::Mul(hn::Mul(LoadUpTo(run.output + i, n), scale), LoadUpTo(run.weight + i, n)), run.output + i, n);
  });
}

}  // namespace HWY_NAMESPACE
}  // namespace nemotron::runtime::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace nemotron::runtime::cpu {
namespace {

HWY_EXPORT(ScanHead);
HWY_EXPORT(RunSkipGateNorm);

float Softplus(float x) { return x > 20.0f ? x : std::log1p(std::exp(x)); }

class SsmScan : public PreparedDispatch {
 public:
  BufferArgument x, b, c, dt, gate, output;  // gate: if gated
  const float* a_log = nullptr;
  const float* dt_bias = nullptr;
  const float* d = nullptr;  // d, weight, eps: if gated
  const float* weight = nullptr;
  StateArgument state;
  int64_t num_heads = 1, head_dim = 1, n_groups = 1, state_size = 1;
  float dt_min = 0, dt_max = 0, eps = 0;
  bool gated = false;
  int num_threads = 1;

  int64_t ScratchBytes() const override { return num_threads * ThreadFloats() * static_cast<int64_t>(sizeof(float)); }

  void Run(const StepContext& step) const override {
    step.pool->ParallelFor(n_groups * static_cast<int64_t>(step.sequences.size()), [&](int64_t task, int thread) {
      const SequenceStep& sequence = step.sequences[task / n_groups];
      float* scratch = reinterpret_cast<float*>(step.scratch) + thread * ThreadFloats();
      for (int64_t t = 0; t < sequence.num_tokens; t += kScanTokens) {
        RunBlock(step, sequence, task % n_groups, t, std::min(kScanTokens, sequence.num_tokens - t), scratch);
      }
    });
  }

 private:
  int64_t PaddedSize() const { return (state_size + kScanPadding - 1) / kScanPadding * kScanPadding; }
  int64_t GroupChannels() const { return num_heads / n_groups * head_dim; }
  // Of one thread: b, c, y of a block, dt and decay of one head; a multiple of 16 floats, so of 64 bytes.
  int64_t ThreadFloats() const { return kScanTokens * (2 * PaddedSize() + (GroupChannels() + 15) / 16 * 16 + 2); }

  void RunBlock(const StepContext& step, const SequenceStep& sequence, int64_t group, int64_t first, int64_t tokens,
                float* scratch) const {
    const int64_t padded = PaddedSize(), channels = GroupChannels(), heads = num_heads / n_groups;
    const int64_t y_stride = (channels + 15) / 16 * 16, token = sequence.first_token + first;
    float* packed_b = scratch;
    float* packed_c = packed_b + kScanTokens * padded;
    float* y = packed_c + kScanTokens * padded;
    float* steps = y + kScanTokens * y_stride;
    float* decays = steps + kScanTokens;
    const auto pack = [&](const BufferArgument& from, float* to) {
      for (int64_t t = 0; t < tokens; ++t) {
        const float* row = step.At<const float>(from, token + t) + group * state_size;
        std::copy(row, row + state_size, to + t * padded);
        std::fill(to + t * padded + state_size, to + (t + 1) * padded, 0.0f);
      }
    };
    pack(b, packed_b);
    pack(c, packed_c);
    for (int64_t i = 0; i < heads; ++i) {
      const int64_t head = group * heads + i;
      const float a = -std::exp(a_log[head]);
      for (int64_t t = 0; t < tokens; ++t) {
        const float raw = step.At<const float>(dt, token + t)[head] + dt_bias[head];
        steps[t] = std::min(std::max(Softplus(raw), dt_min), dt_max);
        decays[t] = std::exp(a * steps[t]);
      }
      ScanBlock block;
      block.b = packed_b;
      block.c = packed_c;
      block.x = reinterpret_cast<const char*>(step.At<const float>(x, token) + head * head_dim);
      block.x_row_bytes = x.row_bytes;
      block.dt = steps;
      block.decay = decays;
      block.state = sequence.slot + state.offset_bytes + head * head_dim * state_size * SizeOf(state.dtype);
      block.state_dtype = state.dtype;
      block.y = y + i * head_dim;
      block.y_stride = y_stride;
      block.num_tokens = tokens;
      block.head_dim = head_dim;
      block.state_size = state_size;
      block.padded_size = padded;
      HWY_DYNAMIC_DISPATCH(ScanHead)(block);
    }
    for (int64_t t = 0; t < tokens; ++t) {
      float* row = step.At<float>(output, token + t) + group * channels;
      if (!gated) {
        std::copy(y + t * y_stride, y + t * y_stride + channels, row);
        continue;
      }
      const SkipGateNorm run{y + t * y_stride,
                             step.At<const float>(x, token + t) + group * channels,
                             step.At<const float>(gate, token + t) + group * channels,
                             d + group * heads,
                             weight + group * channels,
                             row,
                             heads,
                             head_dim,
                             eps};
      HWY_DYNAMIC_DISPATCH(RunSkipGateNorm)(run);
    }
  }
};

PreparedOr PrepareScan(std::string_view name, const DispatchArguments& arguments, bool gated) {
  ArgumentReader args(name, arguments);
  auto scan = std::make_unique<SsmScan>();
  scan->gated = gated;
  scan->num_heads = args.Size("num_heads");
  scan->head_dim = args.Size("head_dim");
  scan->n_groups = args.Size("n_groups");
  scan->state_size = args.Size("state_size");
  args.Check(scan->num_heads % scan->n_groups == 0, "{} heads are not a multiple of {} groups", scan->num_heads,
             scan->n_groups);
  const int64_t channels = scan->num_heads * scan->head_dim, states = scan->n_groups * scan->state_size;
  scan->x = args.Input("x", channels);
  scan->b = args.Input("b", states);
  scan->c = args.Input("c", states);
  scan->dt = args.Input("dt", scan->num_heads);
  scan->output = args.Output("output", channels);
  scan->a_log = args.Vector("a_log", scan->num_heads);
  scan->dt_bias = args.Vector("dt_bias", scan->num_heads);
  scan->state = args.State("ssm", StateKind::kSsm, {scan->num_heads, scan->head_dim, scan->state_size},
                           {DType::kF32, DType::kBF16});
  scan->dt_min = static_cast<float>(args.Float("dt_min"));
  scan->dt_max = static_cast<float>(args.Float("dt_max"));
  args.Check(scan->dt_min >= 0 && scan->dt_min < scan->dt_max, "dt_min {} and dt_max {} are not a range", scan->dt_min,
             scan->dt_max);
  bool tokens = true;
  if (gated) {
    scan->gate = args.Input("gate", channels);
    scan->d = args.Vector("d", scan->num_heads);
    scan->weight = args.Vector("weight", channels);
    scan->eps = static_cast<float>(args.Float("eps"));
    args.Check(scan->eps >= 0, "parameter 'eps' is {}, expected at least 0", scan->eps);
    tokens = scan->gate.space == Space::kToken;
  }
  for (const BufferArgument* buffer : {&scan->x, &scan->b, &scan->c, &scan->dt, &scan->output}) {
    tokens = tokens && buffer->space == Space::kToken;
  }
  args.Check(tokens, "inputs and outputs must count tokens");
  RETURN_IF_ERROR(args.Finish());
  scan->num_threads = arguments.num_threads;
  return scan;
}

}  // namespace

PreparedOr PrepareSsmScan(const DispatchArguments& arguments) {
  return PrepareScan("cpu.ssm_scan", arguments, /*gated=*/false);
}
PreparedOr PrepareSsmScanGatedNorm(const DispatchArguments& arguments) {
  return PrepareScan("cpu.ssm_scan_gated_norm", arguments, /*gated=*/true);
}

}  // namespace nemotron::runtime::cpu
#endif  // HWY_ONCE
