//===- CudaScan.cpp - the selective scan of Mamba-2 ---------------------------------------------------------------===//
#include "codegen/cuda/CudaKernels.h"

#include <numeric>

#include "dialects/Plan/IR/Plan.h"
#include "runtime/plan/layout.h"
#include "llvm/Support/FormatVariadic.h"

using namespace mlir;
using namespace nemotron::plan;

namespace nemotron::codegen {

/// Channels of a block and elements of the state of a warp (kernels/scan.cuh).
static constexpr int64_t kColumns = 32;

/// The largest state whose inputs of two chunks fit the 99 KiB of shared memory that every architecture has.
static constexpr int64_t kMaxStateSize = 256;

/// The most floats of a group that a thread is to keep when a block of the scan normalizes it (kernels/scan_norm.cuh).
/// Values, gates and gains are in registers at once: 96 of the 255 there are.
static constexpr int64_t kNormFloats = 32;

/// Bytes of ScanShared (kernels/scan_chunk.cuh); Scan checks it.
static int64_t sharedBytes(int64_t warps) {
  constexpr int64_t kChunk = runtime::kScanChunk, kTile = kChunk * kColumns;
  const int64_t perWarp = 2 * 2 * kTile + kTile + 2 * (kChunk * 8 + 16);
  return 4 * (warps * perWarp + 3 * kTile + kChunk * (kChunk + 4) + kChunk * kChunk + kChunk + 3 * kChunk);
}

/// The most elements up to 4 that all of these counts are a multiple of.
static int64_t vectorOf(ArrayRef<int64_t> counts) {
  int64_t vector = 4;
  for (int64_t count : counts) {
    vector = std::gcd(vector, count);
  }
  return vector;
}

static int64_t scanWarps(int64_t stateSize) { return llvm::divideCeil(stateSize, kColumns); }

bool scanNormalizes(int64_t groupWidth, int64_t stateSize) {
  return groupWidth <= kNormFloats * 32 * scanWarps(stateSize);
}

/// Launches of the convolution in front of a scan, for other steps than decode, and what decode knows of it
/// (kernels/scan_conv.cuh). x, b and c become those that it leaves in scratch memory.
static void addConvolution(KernelText &text, BufferShape &x, BufferShape &b, BufferShape &c) {
  BufferShape input = text.shape("conv_input");
  const int64_t channels = input.columns, stride = llvm::alignTo(channels, 4);
  const ConvTile tile(channels, {input.alignment, stride});
  text.declaration("struct ConvConfig {\n" +
                   tile.members(channels, text.weightType("conv_weight").getDimSize(0), text.hasWeight("conv_bias"),
                                text.string("conv_activation"), input.stride, stride) +
                   "};");
  text.member("using Conv = ConvConfig;");
  for (auto [shape, name, constant] : {std::tuple(&x, "x_column", "kXColumn"), std::tuple(&b, "b_column", "kBColumn"),
                                       std::tuple(&c, "c_column", "kCColumn")}) {
    const int64_t column = text.integer(name);
    text.constant(constant, column);
    *shape = {input.element, 0, stride, std::gcd<int64_t>(column, stride), input.isRowSpace};
  }
  text.launch("causal_conv1d_run", "ConvolveRunToScratch<ConvConfig>", {tile.blocks, tile.runGrid()}, tile.threads, 0,
              {"input conv_input", "scratch", "weight conv_weight", "weight conv_bias", "state conv", "step"});
  text.launch("causal_conv1d_keep", "KeepInputs<ConvConfig>", {tile.blocks, "L<=1 ? 0 : S"}, tile.threads, 0,
              {"input conv_input", "state conv", "step"});
}

FailureOr<KernelSpec> specializeScan(DispatchOp dispatch) {
  KernelText text(dispatch, "scan");
  const bool isGated = dispatch.getKernel() == "cuda.ssm_scan_gated_norm";
  BufferShape x = text.shape("x"), b = text.shape("b"), c = text.shape("c"), dt = text.shape("dt");
  BufferShape gate = text.shape("gate"), output = text.shape("output"), maximum = text.shape("maximum");
  const bool convolves = text.hasWeight("conv_weight");
  if (convolves) {
    addConvolution(text, x, b, c);
  }
  for (const BufferShape *input : {&x, &b, &c, &dt, &gate}) {
    if (input->element && !input->element.isF32()) {
      return dispatch.emitOpError() << "scans " << input->element
                                    << ", expected f32: target cuda has no kernel for others";
    }
  }
  const bool isOutputF32 = output.element.isF32();
  if (!isOutputF32 && !(isGated && output.element.isBF16())) {
    return dispatch.emitOpError() << "has an output of " << output.element << ", expected f32"
                                  << (isGated ? " or bf16" : "") << ": target cuda has no kernel for others";
  }
  const int64_t heads = text.integer("num_heads"), headDim = text.integer("head_dim");
  const int64_t groups = text.integer("n_groups"), stateSize = text.integer("state_size");
  if (stateSize > kMaxStateSize) {
    return dispatch.emitOpError() << "has a state of " << stateSize << " elements a channel, expected at most "
                                  << kMaxStateSize << ": target cuda has no kernel for more";
  }
  const int64_t warps = scanWarps(stateSize), parts = llvm::divideCeil(headDim, kColumns);
  // Where the output cannot hold y of F32, y goes through scratch memory, rows of whole vectors.
  const bool isInPlace = isOutputF32;
  const int64_t yStride = isInPlace ? output.stride : llvm::alignTo(heads * headDim, 4);
  const int64_t groupWidth = heads / groups * headDim;
  const int64_t normVector = vectorOf({groupWidth, isInPlace ? output.alignment : 4, gate.alignment, output.alignment});
  // Where blocks of the scan normalize in decode, the launch for other steps has as many threads, for one order of
  // sums.
  const bool normalizes = static_cast<bool>(text.shape("counters").element);
  const int64_t normThreads =
      normalizes ? warps * 32 : std::min<int64_t>(1024, llvm::alignTo(llvm::divideCeil(groupWidth, normVector), 32));

  text.type("State", text.stateType("ssm").getElementType()).type("Output", output.element);
  text.constant("kHeads", heads).constant("kHeadDim", headDim).constant("kGroups", groups);
  text.constant("kStateSize", stateSize).constant("kSkip", isGated);
  text.constant("kXStride", x.stride).constant("kBStride", b.stride).constant("kCStride", c.stride);
  text.constant("kDtStride", dt.stride).constant("kYStride", yStride);
  text.constant("kVector", vectorOf({headDim, x.alignment, isInPlace ? output.alignment : 4}));
  text.constant("kStateVector", vectorOf({stateSize, b.alignment, c.alignment}));
  text.constant("kKeepThreads", 128).constant("kSharedBytes", sharedBytes(warps));
  text.constant("kGathersMaximum", !!maximum.element).constant("kGatheredStride", maximum.stride);
  text.constant("kInPlace", isInPlace).constant("kNormalizes", normalizes);
  text.constant("kConvolves", convolves).constant("kConvolvedBytes", convolves ? 4 * x.stride : 0);
  const int64_t scratchBytes = (convolves ? 4 * x.stride : 0) + (isInPlace ? 0 : 4 * yStride);
  StringRef scratch; // nothing, which is passed as nullptr
  if (scratchBytes > 0) {
    scratch = "scratch";
    text.scratch("T*" + Twine(scratchBytes));
  }

  text.launch("ssm_scan", "Scan<Config>", {std::to_string(heads * parts), "S"}, warps * 32, sharedBytes(warps),
              {"input x",
               "input b",
               "input c",
               "input dt",
               "input conv_input",
               "weight conv_weight",
               "weight conv_bias",
               "state conv",
               scratch,
               "output output",
               "weight a_log",
               "weight dt_bias",
               "weight d",
               "state ssm",
               "state recent",
               "parameter dt_min",
               "parameter dt_max",
               "input gate",
               "weight weight",
               "output counters",
               "output maximum",
               "step"});
  text.launch("ssm_scan_keep", "ScanKeep<Config>", {std::to_string(groups), "L<=1 ? 0 : S"}, 128, 0,
              {"input b", "input dt", "weight dt_bias", "state recent", "parameter dt_min", "parameter dt_max", scratch,
               "step"});
  if (isGated) {
    text.constant("kGateStride", gate.stride).constant("kOutputStride", output.stride);
    text.constant("kNormVector", normVector).constant("kNormThreads", normThreads);
    text.floatConstant("kEps", text.number("eps"));
    text.launch("ssm_scan_norm", "GatedNorm<Config>", {normalizes ? "L<=1 ? 0 : T" : "T", std::to_string(groups)},
                normThreads, 0, {scratch, "input gate", "output output", "output maximum", "weight weight", "step"});
  }
  return text.finish(llvm::formatv("{0}_{1}_{2}x{3}x{4}_g{5}", KernelText::cppType(output.element),
                                   KernelText::cppType(text.stateType("ssm").getElementType()), heads, headDim,
                                   stateSize, groups)
                         .str());
}

} // namespace nemotron::codegen
