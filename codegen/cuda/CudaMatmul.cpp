//===- CudaMatmul.cpp - matrix products on tensor cores
//------------------------------------------------------------===//
#include "codegen/cuda/CudaKernels.h"

#include <limits>

#include "codegen/cuda/MatmulTile.h"
#include "dialects/Plan/IR/Plan.h"
#include "llvm/Support/FormatVariadic.h"

using namespace mlir;
using namespace nemotron::plan;

namespace nemotron::codegen {
namespace {

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

FailureOr<KernelSpec> specializeMatmul(DispatchOp dispatch) {
  KernelText text(dispatch, "matmul");
  BufferShape input = text.shape("input"), output = text.shape("output"), inputScale = text.shape("input_scale");
  BufferShape residual = text.shape("residual"), outputScale = text.shape("scale");
  RankedTensorType weight = text.weightType("weight"), scales = text.weightType("weight_scale");
  if (!weight.getEncoding()) {
    return dispatch.emitOpError() << "has a matrix of " << weight.getElementType()
                                  << ", expected bf16 or f8E4M3FN: target cuda has no other";
  }
  const bool isCodes = input.element.isFloat8E4M3FN() || input.element.isF16(),
             splits = dispatch.getParameters().contains("split_input") && text.flag("split_input");
  const MatmulShape shape{input.element.getIntOrFloatBitWidth() / 8,
                          weight.getElementType().getIntOrFloatBitWidth() / 8, weight.getDimSize(0),
                          weight.getDimSize(1)};
  if (shape.inputBytes * input.alignment < 16) {
    return dispatch.emitOpError() << "reads columns that begin at a multiple of " << shape.inputBytes * input.alignment
                                  << " bytes, expected 16";
  }
  const bool isF32 = input.element.isF32();
  if (!(isF32 || input.element.isBF16() || (isCodes && shape.weightBytes == 1))) {
    return dispatch.emitOpError() << "multiplies " << input.element << " by " << weight.getElementType()
                                  << ", which target cuda has no kernel for";
  }

  text.type("Input", input.element).type("Output", output.element).type("Weight", weight.getElementType());
  text.enumerator("kInputKind", "InputKind", isCodes ? "Codes" : splits && isF32 ? "Split" : "Rounded");
  text.enumerator("kActivation", "Activation", text.string("activation") == "relu2" ? "Relu2" : "None");
  text.constant("kOutputs", shape.outputs).constant("kDepth", shape.depth);
  text.constant("kInputStride", input.stride).constant("kOutputStride", output.stride);
  text.constant("kInputScaleStride", inputScale.stride).constant("kWeightScales", scales ? scales.getDimSize(0) : 0);
  text.constant("kBias", text.hasWeight("bias")).constant("kRowSpace", output.isRowSpace);
  text.constant("kResidual", !!residual.element).constant("kResidualStride", residual.stride);
  text.constant("kStoresCodes", !!outputScale.element).constant("kScaleStride", outputScale.stride);

  const std::string count = output.isRowSpace ? "R" : "T";
  int64_t from = 0;
  for (const MatmulTile &tile : tilesFor(shape)) {
    text.declaration(tile.declaration());
    std::string size = std::to_string(tile.blocks(shape));
    if (tile.upTo < kAnyRows) {
      size = llvm::formatv("{0}<={1} ? {2} : 0", count, tile.upTo, size);
    }
    if (from > 0) {
      size = llvm::formatv("{0}>{1} ? ({2}) : 0", count, from, size);
    }
    text.launch(tile.function, llvm::formatv("Matmul<Config, {0}>", tile.name).str(),
                {size, llvm::formatv("ceil({0}/{1})", count, tile.blockRows()).str()}, tile.threads(),
                tile.sharedBytes(shape),
                {"input input", "input input_scale", "input residual", "output output", "output scale", "weight weight",
                 "weight weight_scale", "weight bias", "parameter output_scale", "step"});
    from = tile.upTo;
  }
  return text.finish(llvm::formatv("{0}_{1}_{2}x{3}", KernelText::cppType(input.element),
                                   KernelText::cppType(weight.getElementType()), shape.outputs, shape.depth)
                         .str());
}

} // namespace nemotron::codegen
