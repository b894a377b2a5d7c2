//===- CudaConv.cpp - causal convolution --------------------------------------------------------------------------===//
#include "codegen/cuda/CudaKernels.h"

#include "dialects/Plan/IR/Plan.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/FormatVariadic.h"

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

bool hasConvKernel(int64_t window) { return window >= 2 && window <= kMaxWindow; }

ConvTile::ConvTile(int64_t channels, ArrayRef<int64_t> alignments) {
  while (channels % vector != 0 ||
         llvm::any_of(alignments, [&](int64_t alignment) { return alignment % vector != 0; })) {
    vector /= 2;
  }
  threads = std::min<int64_t>(128, llvm::alignTo(llvm::divideCeil(channels, vector), 32));
  blocks = std::to_string(llvm::divideCeil(channels, threads * vector));
}

std::string ConvTile::runGrid() const { return "L<=1 ? 0 : ceil(T/" + std::to_string(kRun) + ")"; }

std::string ConvTile::members(int64_t channels, int64_t window, bool hasBias, StringRef activation, int64_t inputStride,
                              int64_t outputStride) const {
  return llvm::formatv(
             "  static constexpr int kChannels = {0}, kWindow = {1}, kInputStride = {2}, kOutputStride = {3};\n"
             "  static constexpr int kVector = {4}, kThreads = {5}, kRun = {6}, kAhead = {7};\n"
             "  static constexpr bool kBias = {8};\n"
             "  static constexpr Activation kActivation = Activation::k{9};\n",
             channels, window, inputStride, outputStride, vector, threads, kRun, kAhead, hasBias,
             activation == "silu" ? "Silu" : "None")
      .str();
}

FailureOr<KernelSpec> specializeConv(DispatchOp dispatch) {
  KernelText text(dispatch, "conv");
  BufferShape input = text.shape("input"), output = text.shape("output");
  const int64_t window = text.weightType("weight").getDimSize(0), channels = output.columns;
  if (!input.element.isF32() || !output.element.isF32()) {
    return dispatch.emitOpError() << "convolves " << input.element << " to " << output.element
                                  << ", expected f32: target cuda has no kernel for others";
  }
  if (!hasConvKernel(window)) {
    return dispatch.emitOpError() << "has a window of " << window << ", expected 2 to " << kMaxWindow
                                  << ": target cuda has no kernel for others";
  }
  const ConvTile tile(channels, {input.alignment, output.alignment});
  text.member(StringRef(tile.members(channels, window, text.hasWeight("bias"), text.string("activation"), input.stride,
                                     output.stride))
                  .trim());
  text.launch("causal_conv1d_token", "ConvolveToken<Config>", {tile.blocks, "L<=1 ? S : 0"}, tile.threads, 0,
              {"input input", "output output", "weight weight", "weight bias", "state conv", "step"});
  text.launch("causal_conv1d_run", "ConvolveRun<Config>", {tile.blocks, tile.runGrid()}, tile.threads, 0,
              {"input input", "output output", "weight weight", "weight bias", "state conv", "step"});
  text.launch("causal_conv1d_keep", "KeepInputs<Config>", {tile.blocks, "L<=1 ? 0 : S"}, tile.threads, 0,
              {"input input", "state conv", "step"});
  return text.finish(Twine("f32_w") + Twine(window) + "_" + Twine(channels));
}

} // namespace nemotron::codegen
