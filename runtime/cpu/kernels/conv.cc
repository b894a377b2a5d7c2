// Depthwise causal convolution with its state. A task owns kChannelsPerTask channels of one sequence and walks its
// tokens, so each input is read W times from L1 and everything else once: bound by memory (L2).
#include <algorithm>
#include <cstring>

#include "runtime/cpu/kernels/argument_reader.h"
#include "runtime/cpu/kernels/kernels.h"
#include "runtime/cpu/thread_pool.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "runtime/cpu/kernels/conv.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "runtime/cpu/kernels/vector-inl.h"

#ifndef RUNTIME_CPU_KERNELS_CONV_ONCE_
#define RUNTIME_CPU_KERNELS_CONV_ONCE_
namespace nemotron::runtime::cpu {

/// `size` channels of the tokens of one sequence. Rows before the first token are those of the state.
struct ConvRun {
  const char* input;  // channel 0 of the first token, rows input_row_bytes apart
  char* output;
  int64_t input_row_bytes, output_row_bytes;
  const float* weight;  // [W][channels], first channel
  const float* bias;    // or null
  float* state;         // [W - 1][channels], first channel, oldest first
  int64_t channels;     // distance of rows of weight and state
  int64_t size, num_tokens, window;
  bool silu;
};

}  // namespace nemotron::runtime::cpu
#endif

HWY_BEFORE_NAMESPACE();
namespace nemotron::runtime::cpu {
namespace HWY_NAMESPACE {

void Convolve(const ConvRun& run) {
  const auto row = [&](int64_t t) {
    return t < 0 ? run.state + (run.window - 1 + t) * run.channels
                 : reinterpret_cast<const float*>(run.input + t * run.input_row_bytes);
  };
  for (int64_t w = 0; w < run.window - 1; ++w) {  // else one row after the other waits for memory
    for (int64_t c = 0; c < run.size; c += 64 / static_cast<int64_t>(sizeof(float))) {
      __builtin_prefetch(run.state + w * run.channels + c, /*rw=*/1);
    }
  }
  for (int64_t t = 0; t < run.num_tokens; ++t) {
    auto* output = reinterpret_cast<float*>(run.output + t * run.output_row_bytes);
    ForVectors(run.size, [&](int64_t c, int64_t n) {
      FloatVector sum = run.bias == nullptr ? hn::Zero(kFloats) : LoadUpTo(run.bias + c, n);
      for (int64_t w = 0; w < run.window; ++w) {
        sum = hn::MulAdd(LoadUpTo(run.weight + w * run.channels + c, n), LoadUpTo(row(t - (run.window - 1) + w) + c, n),
                         sum);
      }
      StoreUpTo(run.silu ? Silu(sum) : sum, output + c, n);
    });
  }
  for (int64_t w = 0; w < run.window - 1; ++w) {  // upwards: a state row is read before it is overwritten
    std::memmove(run.state + w * run.channels, row(run.num_tokens - (run.window - 1) + w), run.size * sizeof(float));
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace nemotron::runtime::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace nemotron::runtime::cpu {
namespace {

HWY_EXPORT(Convolve);

constexpr int64_t kChannelsPerTask = 512;

class CausalConv1d : public PreparedDispatch {
 public:
  BufferArgument input, output;
  const float* weight = nullptr;
  const float* bias = nullptr;
  StateArgument state;
  int64_t window = 1;
  bool silu = false;

  void Run(const StepContext& step) const override {
    const int64_t channels = output.columns;
    const int64_t runs = (channels + kChannelsPerTask - 1) / kChannelsPerTask;
    step.pool->ParallelFor(runs * static_cast<int64_t>(step.sequences.size()), [&](int64_t task, int) {
      const SequenceStep& sequence = step.sequences[task / runs];
      const int64_t channel = task % runs * kChannelsPerTask;
      ConvRun run;
      run.input = reinterpret_cast<const char*>(step.At<const float>(input, sequence.first_token) + channel);
      run.output = reinterpret_cast<char*>(step.At<float>(output, sequence.first_token) + channel);
      run.input_row_bytes = input.row_bytes;
      run.output_row_bytes = output.row_bytes;
      run.weight = weight + channel;
      run.bias = bias == nullptr ? nullptr : bias + channel;
      run.state = reinterpret_cast<float*>(sequence.slot + state.offset_bytes) + channel;
      run.channels = channels;
      run.size = std::min(kChannelsPerTask, channels - channel);
      run.num_tokens = sequence.num_tokens;
      run.window = window;
      run.silu = silu;
      HWY_DYNAMIC_DISPATCH(Convolve)(run);
    });
  }
};

}  // namespace

PreparedOr PrepareCausalConv1d(const DispatchArguments& arguments) {
  ArgumentReader args("cpu.causal_conv1d", arguments);
  auto conv = std::make_unique<CausalConv1d>();
  conv->output = args.Output("output");
  const int64_t channels = conv->output.columns;
  conv->input = args.Input("input", channels);
  args.Check(conv->input.space == Space::kToken && conv->output.space == Space::kToken,
             "inputs and outputs must count tokens");
  const WeightArgument weight = args.Weight("weight", {-1, channels});
  conv->weight = reinterpret_cast<const float*>(weight.data.data());
  conv->window = weight.shape[0];
  args.Check(conv->window >= 2, "weight has a window of {}, expected at least 2", conv->window);
  conv->bias = args.OptionalVector("bias", channels);
  conv->state = args.State("conv", StateKind::kConv, {conv->window - 1, channels});
  const std::string activation = args.String("activation");
  args.Check(activation == "none" || activation == "silu", "activation is '{}', expected none or silu", activation);
  conv->silu = activation == "silu";
  RETURN_IF_ERROR(args.Finish());
  return conv;
}

}  // namespace nemotron::runtime::cpu
#endif  // HWY_ONCE
