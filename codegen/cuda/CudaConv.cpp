//===- CudaConv.cpp - causal convolution
//---------------------------------------------------------------------------===//
#include "codegen/cuda/CudaKernels.h"

#include "dialects/Plan/IR/Plan.h"
#include "llvm/ADT/StringExtras.h"

using namespace mlir;
using namespace nemotron::plan;

namespace nemotron::codegen {

/// Tokens that a thread of a prompt walks: 9% more reads than one run would have, and 16 times the threads of 512
/// tokens.
static constexpr int64_t kRun = 32;

/// Tokens whose loads are under way at once: 128 bytes a thread.
static constexpr int64_t kAhead = 8;

/// The widest window whose weights and inputs a thread keeps in registers.
static constexpr int64_t kMaxWindow = 8;

FailureOr<KernelSpec> specializeConv(DispatchOp dispatch) {
  KernelText text(dispatch, "conv");
  BufferShape input = text.shape("input"), output = text.shape("output");
  const int64_t window = text.weightType("weight").getDimSize(0), channels = output.columns;
  if (!input.element.isF32() || !output.element.isF32()) {
    return dispatch.emitOpError() << "convolves " << input.element << " to " << output.element
                                  << ", expected f32: target cuda has no kernel for others";
  }
  if (window < 2 || window > kMaxWindow) {
    return dispatch.emitOpError() << "has a window of " << window << ", expected 2 to " << kMaxWindow
                                  << ": target cuda has no kernel for others";
  }
  int64_t vector = 4;
  while (channels % vector != 0 || input.alignment % vector != 0 || output.alignment % vector != 0) {
    vector /= 2;
  }
  const int64_t threads = std::min<int64_t>(128, llvm::alignTo(llvm::divideCeil(channels, vector), 32));
  const std::string blocks = std::to_string(llvm::divideCeil(channels, threads * vector));

  text.constant("kChannels", channels).constant("kWindow", window).constant("kBias", text.hasWeight("bias"));
  text.enumerator("kActivation", "Activation", text.string("activation") == "silu" ? "Silu" : "None");
  text.constant("kInputStride", input.stride).constant("kOutputStride", output.stride);
  text.constant("kVector", vector).constant("kThreads", threads).constant("kRun", kRun).constant("kAhead", kAhead);
  text.launch("causal_conv1d_token", "ConvolveToken<Config>", {blocks, "L<=1 ? S : 0"}, threads, 0,
              {"input input", "output output", "weight weight", "weight bias", "state conv", "step"});
  text.launch("causal_conv1d_run", "ConvolveRun<Config>", {blocks, "L<=1 ? 0 : ceil(T/" + std::to_string(kRun) + ")"},
              threads, 0, {"input input", "output output", "weight weight", "weight bias", "state conv", "step"});
  text.launch("causal_conv1d_keep", "KeepInputs<Config>", {blocks, "L<=1 ? 0 : S"}, threads, 0,
              {"input input", "state conv", "step"});
  return text.finish(Twine("f32_w") + Twine(window) + "_" + Twine(channels));
}

} // namespace nemotron::codegen
