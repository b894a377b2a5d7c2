// The selective scan of Mamba-2, alone or with skip and gated norm, in chunks of 16 tokens (arXiv:2405.21060, section
// 6).
//
// Chunks begin at positions divisible by 16. With h the state at the start of a chunk, s_j the sum of a * dt up to its
// token j, and i over its tokens up to j,
//   y_j = exp(s_j) (c_j . h) + sum_i exp(s_j - s_i) dt_i (c_j . b_i) x_i,
// and behind its last token h becomes exp(s_15) h + sum_i exp(s_15 - s_i) dt_i b_i x_i. Both are products of small
// matrices: c [16, N] by h [N, P], and b transposed [N, 16] by x [16, P]. An output is one chain of multiply-adds, over
// N and then over the tokens before it, so it does not depend on which tokens of the chunk a step brings, bit for bit.
//
// The slot holds h [H, N, P] and, if the last chunk is not full, the inputs of its tokens: x [H, 16, P], b [G, 16, N],
// dt [H, 16]. A step of one token reads h once and adds to the inputs; h is written once in 16 tokens. That halves the
// memory traffic of a decode step, which is what bounds it. Prefill is bound by the multiply-add units: 2 P N
// multiply-adds a token and head, from L1 and L2. A full chunk in one step does not touch the inputs that are kept.
//
// All in F32. A BF16 state is rounded when it is written, once in 16 tokens.
//
// A task owns a run of heads of one group of one sequence and goes through its chunks in order.
#include <algorithm>
#include <cmath>
#include <vector>

#include "runtime/cpu/kernels/argument_reader.h"
#include "runtime/cpu/kernels/kernels.h"
#include "runtime/cpu/thread_pool.h"
#include "runtime/plan/layout.h"

#ifndef RUNTIME_CPU_KERNELS_SCAN_ONCE_
#define RUNTIME_CPU_KERNELS_SCAN_ONCE_
namespace nemotron::runtime::cpu {

/// One head of one chunk, of which tokens [first, end) are new.
struct ScanHeadChunk {
  int64_t first, end;
  const std::byte* c;  // [N], of token `first`; rows c_row_bytes apart
  int64_t c_row_bytes;
  const float* const* b;  // a row [N] for each token before `end`
  const float* x;         // [end][padded_dim], zeros past head_dim
  const float* weights;   // [end][kScanChunk]: of token i in the output of token j
  const float* decays;    // [end]: of the state in the output of token j
  std::byte* state;       // [N][P]
  DType state_dtype;      // kF32 or kBF16
  std::byte* y;           // [P], of token `first`; rows y_row_bytes apart
  int64_t y_row_bytes;
  int64_t head_dim, padded_dim, state_size;
};

/// What a full chunk does to the state.
struct ScanStep {
  const float* weights;  // [kScanChunk], of its tokens
  float decay;
};

/// A run of channels of one token, in place: v = (y + d * x) * silu(gate), divided by its root mean square, times
/// weight.
struct SkipGateNorm {
  float* y;
  const float* x;
  const float* gate;
  const float* d;  // [heads of the group]
  const float* weight;
  int64_t num_heads, head_dim;
  float eps;
};

}  // namespace nemotron::runtime::cpu
#endif

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "runtime/cpu/kernels/scan.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "runtime/cpu/kernels/scan-inl.h"

#if HWY_ONCE
namespace nemotron::runtime::cpu {
namespace {

HWY_EXPORT(TimeSteps);
HWY_EXPORT(ChunkDecays);
HWY_EXPORT(Dot);
HWY_EXPORT(RunScanHead);
HWY_EXPORT(RunSkipGateNorm);

class SsmScan : public PreparedDispatch {
 public:
  BufferArgument x, b, c, dt, gate, output;  // gate: if gated
  std::vector<float> a;                      // -exp(a_log)
  const float* dt_bias = nullptr;
  const float* d = nullptr;  // d, weight, eps: if gated
  const float* weight = nullptr;
  StateArgument state, recent;
  int64_t num_heads = 1, head_dim = 1, n_groups = 1, state_size = 1;
  float dt_min = 0, dt_max = 0, eps = 0;
  bool gated = false;
  int num_threads = 1;

  int64_t ScratchBytes() const override { return num_threads * ScratchFloats() * static_cast<int64_t>(sizeof(float)); }

  void Run(const StepContext& step) const override {
    const auto num_sequences = static_cast<int64_t>(step.sequences.size());
    const int64_t runs_per_group = RunsPerGroup(num_sequences), runs = n_groups * runs_per_group;
    step.pool->ParallelFor(runs * num_sequences, [&](int64_t task, int thread) {
      const int64_t heads = GroupHeads() / runs_per_group, run = task % runs;
      const HeadRun mine = {step.sequences[task / runs], run / runs_per_group, run * heads, (run + 1) * heads};
      ScanSequence(step, mine, reinterpret_cast<float*>(step.scratch) + thread * ScratchFloats());
      if (gated && runs_per_group == 1) {
        for (int64_t t = 0; t < mine.sequence.num_tokens; ++t) {
          NormGroup(step, mine.sequence.first_token + t, mine.group);
        }
      }
    });
    for (const SequenceStep& sequence : step.sequences) {
      KeepB(step, sequence);
    }
    if (gated && runs_per_group > 1) {
      step.pool->ParallelFor(step.num_tokens() * n_groups,
                             [&](int64_t task, int) { NormGroup(step, task / n_groups, task % n_groups); });
    }
  }

 private:
  /// Heads [first_head, last_head) of `group`.
  struct HeadRun {
    const SequenceStep& sequence;
    int64_t group, first_head, last_head;
  };

  int64_t GroupHeads() const { return num_heads / n_groups; }
  int64_t PaddedDim() const { return RoundUpToPanels(head_dim); }
  /// Of one thread: x of a chunk and a head.
  int64_t ScratchFloats() const { return kScanChunk * PaddedDim(); }

  /// A group is one task, for c . b and the norm belong to groups, unless threads would go idle.
  int64_t RunsPerGroup(int64_t num_sequences) const {
    int64_t runs = 1;
    while (num_sequences * n_groups * runs < 2 * num_threads && GroupHeads() % (2 * runs) == 0) {
      runs *= 2;
    }
    return num_threads == 1 ? 1 : runs;
  }

  // The inputs that the slot keeps: of a head [kScanChunk][head_dim], of a group [kScanChunk][state_size], of a head
  // [kScanChunk].
  float* Recent(const SequenceStep& sequence) const {
    return reinterpret_cast<float*>(sequence.slot + recent.offset_bytes);
  }
  float* RecentX(const SequenceStep& sequence, int64_t head) const {
    return Recent(sequence) + kScanChunk * head * head_dim;
  }
  float* RecentB(const SequenceStep& sequence, int64_t group) const {
    return RecentX(sequence, num_heads) + kScanChunk * group * state_size;
  }
  float* RecentSteps(const SequenceStep& sequence, int64_t head) const {
    return RecentB(sequence, n_groups) + kScanChunk * head;
  }

  void ScanSequence(const StepContext& step, const HeadRun& run, float* scratch) const {
    const SequenceStep& sequence = run.sequence;
    for (int64_t done = 0, end = 0; done < sequence.num_tokens; done += end) {
      const int64_t first = (sequence.position + done) % kScanChunk;
      end = std::min(kScanChunk - first, sequence.num_tokens - done);
      ScanChunk(step, run, sequence.first_token + done, first, first + end, scratch);
    }
  }

  /// Tokens [first, end) of a chunk, which are those of the step from `token` on.
  void ScanChunk(const StepContext& step, const HeadRun& run, int64_t token, int64_t first, int64_t end,
                 float* scratch) const {
    const float* b_rows[kScanChunk];
    for (int64_t i = 0; i < end; ++i) {
      b_rows[i] = i < first ? RecentB(run.sequence, run.group) + i * state_size
                            : step.At<const float>(b, token + i - first) + run.group * state_size;
    }
    float products[kScanChunk][kScanChunk];  // c_j . b_i
    for (int64_t j = first; j < end; ++j) {
      const float* c_row = step.At<const float>(c, token + j - first) + run.group * state_size;
      for (int64_t i = 0; i <= j; ++i) {
        products[j][i] = HWY_DYNAMIC_DISPATCH(Dot)(c_row, b_rows[i], state_size);
      }
    }
    ScanHeadChunk chunk;
    chunk.first = first;
    chunk.end = end;
    chunk.c = reinterpret_cast<const std::byte*>(step.At<const float>(c, token) + run.group * state_size);
    chunk.c_row_bytes = c.row_bytes;
    chunk.b = b_rows;
    chunk.y_row_bytes = output.row_bytes;
    chunk.state_dtype = state.dtype;
    chunk.head_dim = head_dim;
    chunk.padded_dim = PaddedDim();
    chunk.state_size = state_size;
    for (int64_t head = run.first_head; head < run.last_head; ++head) {
      alignas(64) float steps[kScanChunk];
      alignas(64) float weights[kScanChunk][kScanChunk];
      alignas(64) float decays[kScanChunk];
      ReadSteps(step, run.sequence, head, token, first, end, steps);
      HWY_DYNAMIC_DISPATCH(ChunkDecays)(steps, a[head], first, end, weights, decays);
      // With c . b = 1 the weights of the last token are those of the state.
      alignas(64) float last_weights[kScanChunk];
      std::copy_n(weights[end - 1], kScanChunk, last_weights);
      for (int64_t j = first; j < end; ++j) {
        for (int64_t i = 0; i <= j; ++i) {
          weights[j][i] *= products[j][i];
        }
      }
      float* rows = ReadInputs(step, run.sequence, head, token, first, end, scratch);
      chunk.x = rows;
      chunk.weights = weights[0];
      chunk.decays = decays;
      chunk.state = run.sequence.slot + state.offset_bytes + head * head_dim * state_size * SizeOf(state.dtype);
      chunk.y = reinterpret_cast<std::byte*>(step.At<float>(output, token) + head * head_dim);
      HWY_DYNAMIC_DISPATCH(RunScanHead)(chunk, {last_weights, decays[end - 1]}, rows);
    }
  }

  /// Stores b of the tokens in the chunk that a step leaves unfilled. Once all tasks have ended: those of a group read
  /// the rows that this writes.
  void KeepB(const StepContext& step, const SequenceStep& sequence) const {
    const int64_t end = sequence.position + sequence.num_tokens;
    for (int64_t at = std::max(sequence.position, end / kScanChunk * kScanChunk); at < end; ++at) {
      const float* row = step.At<const float>(b, sequence.first_token + at - sequence.position);
      for (int64_t group = 0; group < n_groups; ++group) {
        std::copy_n(row + group * state_size, state_size, RecentB(sequence, group) + at % kScanChunk * state_size);
      }
    }
  }

  /// Time steps of tokens before `end`; new ones are kept if the chunk goes on.
  void ReadSteps(const StepContext& step, const SequenceStep& sequence, int64_t head, int64_t token, int64_t first,
                 int64_t end, float* steps) const {
    alignas(64) float raw[kScanChunk] = {};
    for (int64_t i = first; i < end; ++i) {
      raw[i] = step.At<const float>(dt, token + i - first)[head];
    }
    HWY_DYNAMIC_DISPATCH(TimeSteps)(raw, dt_bias[head], dt_min, dt_max, steps);
    float* kept = RecentSteps(sequence, head);
    std::copy_n(kept, first, steps);
    if (end < kScanChunk) {
      std::copy(steps + first, steps + end, kept + first);
    }
  }

  /// Likewise x of tokens before `end`, padded. The kept rows themselves if they are as wide, else `scratch`.
  float* ReadInputs(const StepContext& step, const SequenceStep& sequence, int64_t head, int64_t token, int64_t first,
                    int64_t end, float* scratch) const {
    const auto copy_new = [&](float* rows, int64_t row_size) {
      for (int64_t i = first; i < end; ++i) {
        std::copy_n(step.At<const float>(x, token + i - first) + head * head_dim, head_dim, rows + i * row_size);
      }
    };
    float* kept = RecentX(sequence, head);
    const bool is_whole = first == 0 && end == kScanChunk;
    if (!is_whole) {
      copy_new(kept, head_dim);
      if (PaddedDim() == head_dim) {
        return kept;
      }
    }
    std::fill_n(scratch, end * PaddedDim(), 0.0f);
    copy_new(scratch, PaddedDim());
    for (int64_t i = 0; i < first; ++i) {
      std::copy_n(kept + i * head_dim, head_dim, scratch + i * PaddedDim());
    }
    return scratch;
  }

  void NormGroup(const StepContext& step, int64_t token, int64_t group) const {
    const int64_t heads = GroupHeads(), at = group * heads * head_dim;
    HWY_DYNAMIC_DISPATCH(RunSkipGateNorm)
    ({step.At<float>(output, token) + at, step.At<const float>(x, token) + at, step.At<const float>(gate, token) + at,
      d + group * heads, weight + at, heads, head_dim, eps});
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
  const float* a_log = args.Vector("a_log", scan->num_heads);
  scan->dt_bias = args.Vector("dt_bias", scan->num_heads);
  scan->state = args.State("ssm", StateKind::kSsm, {scan->num_heads, scan->head_dim, scan->state_size},
                           {DType::kF32, DType::kBF16});
  scan->recent = args.State("recent", StateKind::kRecent, {kScanChunk, channels + states + scan->num_heads});
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
  for (int64_t head = 0; head < scan->num_heads; ++head) {
    scan->a.push_back(-std::exp(a_log[head]));
  }
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
