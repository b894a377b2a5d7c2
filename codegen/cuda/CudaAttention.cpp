//===- CudaAttention.cpp - attention over a paged cache -----------------------------------------------------------===//
#include "codegen/cuda/CudaKernels.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "dialects/Plan/IR/Plan.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/FormatVariadic.h"

using namespace mlir;
using namespace nemotron::plan;

namespace nemotron::codegen {
namespace {

/// Keys of a tile and of a segment, as in kernels/attention_parts.cuh.
constexpr int64_t kTileKeys = 64, kSegmentKeys = 512;

constexpr int64_t kMaxHeadDim = 256;

/// Shared memory that a block of every architecture has, 99 KiB on sm_89 and sm_120, but for the KiB of static
/// variables.
constexpr int64_t kSharedBytes = 98 * 1024;

/// Tiles of keys or values under way at once, and one: 48 KiB a block for heads of 128 BF16.
constexpr int64_t kMaxStages = 4;

/// Blocks of which a multiprocessor must have room for the registers. ptxas would spill some for one more.
constexpr int64_t kResidentBlocks = 1;

/// Threads that store the keys and values of a token, 16 bytes of F32 each at a time.
constexpr int64_t kStoreThreads = 256;

/// How a block is cut (kernels/attention_tiles.cuh and attention_rows.cuh).
struct Tile {
  int64_t rowWarps, columnWarps, stages, wideTiles, sharedBytes;

  int64_t rows() const { return 16 * rowWarps; }
  int64_t threads() const { return 32 * rowWarps * columnWarps; }
};

/// As many stages as there is room for. `dim` is padded.
Tile makeTile(int64_t rowWarps, int64_t columnWarps, int64_t dim, int64_t cacheBytes) {
  const int64_t tileBytes = kTileKeys * dim * 2, stageBytes = kTileKeys * dim * cacheBytes;
  const int64_t wideTiles = dim <= 128 ? 2 : 1;
  const int64_t scoreBytes = columnWarps > 1 ? 16 * (kTileKeys + 8) * sizeof(float) : 0;
  const int64_t others = (cacheBytes == 1 ? wideTiles * tileBytes : 0) + rowWarps * (16 * dim * 2 + scoreBytes);
  const int64_t stages = std::min((kSharedBytes - others) / stageBytes, kMaxStages);
  return {rowWarps, columnWarps, stages, wideTiles, stages * stageBytes + others};
}

/// Registers bound the columns that a warp mixes, with a sum for the segment and one for all: 128. Of wider heads two
/// or four warps share the rows, and fewer rows the keys.
Tile prefillTile(int64_t dim, int64_t cacheBytes) {
  return dim <= 128   ? makeTile(8, 1, dim, cacheBytes)
         : dim <= 192 ? makeTile(4, 2, dim, cacheBytes)
                      : makeTile(2, 4, dim, cacheBytes);
}

/// Keys and values are read once for up to 32 heads.
Tile decodeTile(int64_t group, int64_t dim, int64_t cacheBytes) {
  return makeTile(group <= 16 ? 1 : 2, 4, dim, cacheBytes);
}

void declareTile(KernelText &text, StringRef name, const Tile &tile, bool isDecode) {
  text.declaration(llvm::formatv("struct {0} {{\n  static constexpr bool kIsDecode = {1};\n  static constexpr int "
                                 "kRowWarps = {2}, kColumnWarps = {3}, kStages = {4}, kWideTiles = {5};\n};",
                                 name, isDecode ? "true" : "false", tile.rowWarps, tile.columnWarps, tile.stages,
                                 tile.wideTiles)
                       .str());
}

/// The most elements, a power of two up to `most`, by which heads of the buffers can be read and written.
int64_t vectorOf(ArrayRef<BufferShape> shapes, int64_t headDim, int64_t most) {
  int64_t vector = most;
  for (const BufferShape &shape : shapes) {
    while (shape.alignment % vector != 0 || headDim % vector != 0) {
      vector /= 2;
    }
  }
  return vector;
}

/// An error where there is no kernel for the dispatch.
LogicalResult check(DispatchOp dispatch, KernelText &text) {
  for (StringRef name : {"query", "key", "value"}) {
    if (BufferShape shape = text.shape(name); !shape.element.isF32()) {
      return dispatch.emitOpError() << "has a " << name << " of " << shape.element
                                    << ", expected f32: target cuda has no kernel for others";
    }
  }
  BufferShape output = text.shape("output");
  if (!output.element.isF32() && !output.element.isBF16()) {
    return dispatch.emitOpError() << "has an output of " << output.element
                                  << ", expected f32 or bf16: target cuda has no kernel for others";
  }
  if (output.isRowSpace) {
    return dispatch.emitOpError() << "has an output of rows, expected of tokens";
  }
  Type cache = text.stateType("cache").getElementType();
  if (!cache.isBF16() && !cache.isFloat8E4M3FN()) {
    return dispatch.emitOpError() << "has a cache of " << cache
                                  << ", expected bf16 or f8E4M3FN: target cuda has no kernel for others";
  }
  if (text.integer("head_dim") > kMaxHeadDim) {
    return dispatch.emitOpError() << "has heads of " << text.integer("head_dim") << ", expected at most " << kMaxHeadDim
                                  << ": target cuda has no kernel for wider ones";
  }
  const float keyScale = cache.isBF16() ? 1.0f : static_cast<float>(text.number("key_scale"));
  if (!std::isfinite(static_cast<float>(text.number("scale")) * keyScale * std::numbers::log2e_v<float>)) {
    return dispatch.emitOpError() << "scales by " << text.number("scale") << " times a key_scale of " << keyScale
                                  << ", which exceeds f32";
  }
  return success();
}

} // namespace

FailureOr<KernelSpec> specializeAttention(DispatchOp dispatch) {
  KernelText text(dispatch, "attention");
  if (failed(check(dispatch, text))) {
    return failure();
  }
  BufferShape query = text.shape("query"), key = text.shape("key"), value = text.shape("value");
  BufferShape output = text.shape("output");
  Type cache = text.stateType("cache").getElementType();
  const int64_t heads = text.integer("num_heads"), kvHeads = text.integer("num_kv_heads");
  const int64_t headDim = text.integer("head_dim"), dim = llvm::alignTo(headDim, 16), group = heads / kvHeads;
  const int64_t cacheBytes = cache.getIntOrFloatBitWidth() / 8;

  text.type("Cache", cache).type("Output", output.element).floatConstant("kScale", text.number("scale"));
  text.constant("kNumHeads", heads).constant("kNumKvHeads", kvHeads).constant("kHeadDim", headDim);
  text.constant("kQueryStride", query.stride).constant("kKeyStride", key.stride);
  text.constant("kValueStride", value.stride).constant("kOutputStride", output.stride);
  text.constant("kQueryVector", vectorOf({query}, headDim, 2))
      .constant("kOutputVector", vectorOf({output}, headDim, 4));
  text.constant("kStoreVector", vectorOf({key, value}, headDim, 4)).constant("kStoreThreads", kStoreThreads);

  const Tile prefill = prefillTile(dim, cacheBytes), decode = decodeTile(group, dim, cacheBytes);
  declareTile(text, "Prefill", prefill, /*isDecode=*/false);
  declareTile(text, "Decode", decode, /*isDecode=*/true);
  const SmallVector<StringRef, 7> arguments = {
      "input query", "output output", "state cache", "parameter key_scale", "parameter value_scale", "scratch", "step"};
  text.launch("attention_store", "StoreKeysAndValues<Config>", {"T"}, kStoreThreads, 0,
              {"input key", "input value", "state cache", "parameter key_scale", "parameter value_scale", "step"});
  text.launch("attention_prefill", "Attention<Config, Prefill>",
              {llvm::formatv("L<=1 ? 0 : ceil(L*{0}/{1})", group, prefill.rows()).str(), std::to_string(kvHeads), "S"},
              prefill.threads(), prefill.sharedBytes, arguments, kResidentBlocks);
  // A step with one sequence of several tokens has no single ones.
  const std::string segments = "ceil(C/" + std::to_string(kSegmentKeys) + ")";
  const int64_t rowBlocks = llvm::divideCeil(group, decode.rows());
  text.launch("attention_decode", "Attention<Config, Decode>",
              {"L<=1 ? " + segments + " : (S<=1 ? 0 : " + segments + ")", std::to_string(kvHeads * rowBlocks), "S"},
              decode.threads(), decode.sharedBytes, arguments, kResidentBlocks);
  text.launch("attention_merge", "MergeSegments<Config>",
              {llvm::formatv("C<={0} ? 0 : (L<=1 ? {1} : (S<=1 ? 0 : {1}))", kSegmentKeys, heads).str(), "S"},
              llvm::alignTo(headDim, 32), 0, {"output output", "scratch", "parameter value_scale", "step"});
  text.scratch(
      llvm::formatv("S*{0}*{1}", segments, llvm::alignTo(heads * (dim + 2), 32) * int64_t{sizeof(float)}).str());
  return text.finish(llvm::formatv("{0}_{1}x{2}x{3}", KernelText::cppType(cache), heads, kvHeads, headDim).str());
}

} // namespace nemotron::codegen
