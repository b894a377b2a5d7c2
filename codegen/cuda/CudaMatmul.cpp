//===- CudaMatmul.cpp - matrix products on tensor cores
//------------------------------------------------------------===//
#include "codegen/cuda/CudaKernels.h"

#include <limits>

#include "codegen/cuda/MatmulTile.h"
#include "codegen/cuda/QuantizeConfig.h"
#include "dialects/Plan/IR/Plan.h"
#include "llvm/Support/FormatVariadic.h"

using namespace mlir;
using namespace nemotron::plan;

namespace nemotron::codegen {
namespace {

/// Registers are not to be spilled for the sake of one more block: that shared memory allows few is enough.
constexpr int64_t kResidentBlocks = 1;

constexpr int64_t kAnyRows = std::numeric_limits<int64_t>::max();

/// 128 outputs for 128 rows. BF16: a warp has a square of 64 x 64. E4M3 that is decoded: all rows for 32 outputs, so
/// that each tile of W is decoded once. E4M3 that is multiplied has twice the sums, and half of them a warp.
MatmulTile manyRows(const MatmulShape &shape) {
  if (shape.weightBytes == 2) {
    return {"ManyRows", "matmul_many_rows", kAnyRows, 2, 2, 4, 8, 2, 4};
  }
  if (shape.inputBytes == 1) {
    return {"ManyRows", "matmul_many_rows", kAnyRows, 4, 2, 2, 8, 4, 3};
  }
  return {"ManyRows", "matmul_many_rows", kAnyRows, 4, 1, 2, 16, 1, 4};
}

/// A few rows: as many blocks as an H100 has multiprocessors, if there are bands enough, so that all of them read; 64
/// KiB on their way each. More rows: larger tiles, so that a byte of W serves more of them.
SmallVector<MatmulTile, 3> tilesFor(const MatmulShape &shape) {
  const int64_t warps = shape.bands() >= 4 * 128 ? 4 : shape.bands() >= 2 * 128 ? 2 : 1;
  SmallVector<MatmulTile, 3> tiles = {{"FewRows", "matmul_few_rows", 8, warps, 1, 1, 1, 16, 4},
                                      {"SomeRows", "matmul_some_rows", 32, warps, 1, 1, 4, 8, 4},
                                      manyRows(shape)};
  for (MatmulTile &tile : tiles) {
    tile.fit(shape);
  }
  return tiles;
}

} // namespace

bool multipliesE4M3(Operation *op) {
  auto architectures = op->getParentOfType<ModuleOp>()->getAttrOfType<ArrayAttr>("plan.architectures");
  return architectures && llvm::all_of(architectures.getAsRange<StringAttr>(), [](StringAttr name) {
           return name.getValue().starts_with("sm_89") || name.getValue().starts_with("sm_12");
         });
}

/// Launches for up to `tile.upTo` rows each; those for more than `from` and at most `to`.
static void addLaunches(KernelText &text, ArrayRef<MatmulTile> tiles, const MatmulShape &shape, StringRef call,
                        const std::string &count, int64_t from, ArrayRef<StringRef> arguments) {
  for (const MatmulTile &tile : tiles) {
    text.declaration(tile.declaration());
    std::string size = std::to_string(tile.blocks(shape));
    if (tile.upTo < kAnyRows) {
      size = llvm::formatv("{0}<={1} ? {2} : 0", count, tile.upTo, size);
    }
    if (from > 0) {
      size = llvm::formatv("{0}>{1} ? ({2}) : 0", count, from, size);
    }
    text.launch(tile.function, llvm::formatv("{0}<Config, {1}>", call, tile.name).str(),
                {size, llvm::formatv("ceil({0}/{1})", count, tile.blockRows()).str()}, tile.threads(),
                tile.sharedBytes(shape), arguments, kResidentBlocks);
    from = tile.upTo;
  }
}

/// Launches of a product that makes `codes` of its input (kernels/matmul_quantize.cuh). `shape` is that of the codes.
static void addQuantizingLaunches(KernelText &text, Type codes, const MatmulShape &shape, const std::string &count) {
  BufferShape raw = text.shape("input"), maxima = text.shape("input_maximum");
  StringRef activation = text.string("input_activation") == "relu2" ? "Relu2" : "None";
  StringRef scaling = text.string("scaling") == "token" ? "Token" : "Static";
  const int64_t stride = llvm::alignTo(shape.depth, 16);
  text.constant("kInputStride", stride).constant("kInputScaleStride", 1).constant("kRawStride", raw.stride);
  text.enumerator("kRawActivation", "Activation", activation).enumerator("kScaling", "Scaling", scaling);
  text.constant("kMaximumStride", maxima.stride);
  text.scratch(count + "*" + Twine(stride * shape.inputBytes + 4));

  SmallVector<MatmulTile, 3> tiles = tilesFor(shape);
  MatmulShape rawShape = shape;
  rawShape.quantizes = true;
  const MatmulTile few = tiles[0].quantizing(rawShape);
  text.declaration(few.declaration());
  text.launch(few.function, "MatmulQuantizing<Config, FewRows>",
              {llvm::formatv("{0}<={1} ? {2} : 0", count, few.upTo, few.blocks(shape)).str(),
               llvm::formatv("ceil({0}/{1})", count, few.blockRows()).str()},
              few.threads(), few.sharedBytes(rawShape),
              {"input input", "input input_maximum", "input residual", "output output", "output scale",
               "output maximum", "weight weight", "weight weight_scale", "weight bias", "parameter scale",
               "parameter output_scale", "step"},
              kResidentBlocks);

  const QuantizeConfig config{"QuantizeConfig", shape.depth, raw.stride, raw.alignment,
                              stride,           codes,       activation, scaling};
  text.declaration(config.declaration());
  text.launch("quantize_rows", "QuantizeRows<Config, QuantizeConfig>",
              {llvm::formatv("{0}>{1} ? {0} : 0", count, few.upTo).str()}, config.threads(), 0,
              {"input input", "scratch", "parameter scale", "step"});
  addLaunches(text, ArrayRef(tiles).drop_front(), shape, "MatmulOfCodes", count, few.upTo,
              {"scratch", "input residual", "output output", "output scale", "output maximum", "weight weight",
               "weight weight_scale", "weight bias", "parameter output_scale", "step"});
}

FailureOr<KernelSpec> specializeMatmul(DispatchOp dispatch) {
  const bool quantizes = dispatch.getParameters().contains("input_activation");
  KernelText text(dispatch, quantizes ? "matmul_quantize" : "matmul");
  BufferShape input = text.shape("input"), output = text.shape("output"), inputScale = text.shape("input_scale");
  BufferShape residual = text.shape("residual"), outputScale = text.shape("scale"), maximum = text.shape("maximum");
  RankedTensorType weight = text.weightType("weight"), scales = text.weightType("weight_scale");
  if (!weight.getEncoding()) {
    return dispatch.emitOpError() << "has a matrix of " << weight.getElementType()
                                  << ", expected bf16 or f8E4M3FN: target cuda has no other";
  }
  Builder builder(dispatch.getContext());
  Type operand = !quantizes                 ? input.element
                 : multipliesE4M3(dispatch) ? Type(Float8E4M3FNType::get(dispatch.getContext()))
                                            : Type(builder.getF16Type());
  const bool isCodes = operand.isFloat8E4M3FN() || operand.isF16(), isF32 = operand.isF32();
  const bool splits = dispatch.getParameters().contains("split_input") && text.flag("split_input");
  const MatmulShape shape{operand.getIntOrFloatBitWidth() / 8, weight.getElementType().getIntOrFloatBitWidth() / 8,
                          weight.getDimSize(0), weight.getDimSize(1)};
  const int64_t readBytes = input.element.getIntOrFloatBitWidth() / 8 * input.alignment;
  if (readBytes < 16) {
    return dispatch.emitOpError() << "reads columns that begin at a multiple of " << readBytes << " bytes, expected 16";
  }
  if (!(isF32 || operand.isBF16() || (isCodes && shape.weightBytes == 1)) || (quantizes && !input.element.isF32())) {
    return dispatch.emitOpError() << "multiplies " << input.element << " by " << weight.getElementType()
                                  << ", which target cuda has no kernel for";
  }

  text.type("Input", operand).type("Output", output.element).type("Weight", weight.getElementType());
  text.enumerator("kInputKind", "InputKind", isCodes ? "Codes" : splits && isF32 ? "Split" : "Rounded");
  text.enumerator("kActivation", "Activation", text.string("activation") == "relu2" ? "Relu2" : "None");
  text.constant("kOutputs", shape.outputs).constant("kDepth", shape.depth).constant("kOutputStride", output.stride);
  text.constant("kWeightScales", scales ? scales.getDimSize(0) : 0).constant("kBias", text.hasWeight("bias"));
  text.constant("kResidual", !!residual.element).constant("kResidualStride", residual.stride);
  text.constant("kStoresCodes", !!outputScale.element).constant("kScaleStride", outputScale.stride);
  text.constant("kGathersMaximum", !!maximum.element).constant("kGatheredStride", maximum.stride);
  text.constant("kRowSpace", output.isRowSpace);

  const std::string count = output.isRowSpace ? "R" : "T";
  if (quantizes) {
    addQuantizingLaunches(text, operand, shape, count);
  } else {
    text.constant("kInputStride", input.stride).constant("kInputScaleStride", inputScale.stride);
    addLaunches(text, tilesFor(shape), shape, "Matmul", count, 0,
                {"input input", "input input_scale", "input residual", "output output", "output scale",
                 "output maximum", "weight weight", "weight weight_scale", "weight bias", "parameter output_scale",
                 "step"});
  }
  return text.finish(llvm::formatv("{0}_{1}_{2}x{3}", KernelText::cppType(input.element),
                                   KernelText::cppType(weight.getElementType()), shape.outputs, shape.depth)
                         .str());
}

} // namespace nemotron::codegen
