//===- FuseQKV.cpp - query, key and value with one matrix ---------------------------------------------------------===//
#include "mlir/IR/PatternMatch.h"
#include "mlir/IR/TypeUtilities.h"
#include "passes/FusionUtils.h"
#include "passes/Passes.h"

using namespace mlir;

namespace nemotron::passes {

#define GEN_PASS_DEF_FUSEQKVPASS
#include "passes/Passes.h.inc"

namespace {

/// The matrix product that `value` comes from, a `linear` or a `scaled_matmul`, if there is nothing but a rotary
/// embedding on the way.
template <typename LinearOp> LinearOp findLinear(Value value) {
  if (auto rotary = value.getDefiningOp<ir::RotaryEmbeddingOp>()) {
    value = rotary.getInput();
  }
  return value.getDefiningOp<LinearOp>();
}

/// Null if there is no value.
Type elementTypeOf(Value value) { return value ? getElementTypeOrSelf(value) : Type(); }

bool haveSameInput(ir::LinearOp a, ir::LinearOp b) {
  return a.getInput() == b.getInput() && a.getSplitInput() == b.getSplitInput();
}

bool haveSameInput(ir::ScaledMatmulOp a, ir::ScaledMatmulOp b) {
  // Rows of groups stand beside rows of as many.
  auto groupsOf = [](ir::ScaledMatmulOp op) { return op.getWeightScale().getType().getShape().drop_front(); };
  return a.getInput() == b.getInput() && a.getInputScale() == b.getInputScale() && groupsOf(a) == groupsOf(b);
}

/// Whether rows of the matrices of `a` and `b` may stand in one matrix.
template <typename LinearOp> bool canJoin(LinearOp a, LinearOp b) {
  return haveSameInput(a, b) && a->getBlock() == b->getBlock() && a.getActivation() == b.getActivation() &&
         elementTypeOf(a.getBias()) == elementTypeOf(b.getBias()) &&
         elementTypeOf(a.getWeight()) == elementTypeOf(b.getWeight()) &&
         elementTypeOf(a.getResult()) == elementTypeOf(b.getResult());
}

/// The products that give query, key and value, each once, in this order. Empty if there are not at least two that can
/// be joined.
template <typename LinearOp> SmallVector<LinearOp> findLinears(ir::AttentionOp attention) {
  SmallVector<LinearOp> linears;
  for (Value value : {attention.getQuery(), attention.getKey(), attention.getValue()}) {
    auto linear = findLinear<LinearOp>(value);
    if (!linear || (!linears.empty() && !canJoin(linears.front(), linear))) {
      return {};
    }
    if (!llvm::is_contained(linears, linear)) {
      linears.push_back(linear);
    }
  }
  if (linears.size() < 2) {
    linears.clear();
  }
  return linears;
}

/// `parts` behind each other along their first dimension.
Value concat(OpBuilder &builder, Location loc, ValueRange parts) {
  auto first = cast<RankedTensorType>(parts.front().getType());
  SmallVector<int64_t> shape(first.getShape());
  shape[0] = 0;
  for (Value part : parts) {
    shape[0] += cast<RankedTensorType>(part.getType()).getDimSize(0);
  }
  return builder.create<ir::ConcatOp>(loc, RankedTensorType::get(shape, first.getElementType()), parts);
}

/// A scale for each row of the matrix of `matmul`.
Value rowScales(OpBuilder &builder, ir::ScaledMatmulOp matmul) {
  RankedTensorType type = matmul.getWeightScale().getType();
  const int64_t rows = matmul.getWeight().getType().getDimSize(0);
  if (type.getDimSize(0) == rows) {
    return matmul.getWeightScale();
  }
  auto scales =
      builder.create<ir::BroadcastOp>(matmul.getWeightScale().getLoc(), type.clone({rows}), matmul.getWeightScale());
  inheritLayer(scales, {matmul});
  return scales;
}

Operation *createJoined(OpBuilder &builder, Location loc, Type type, ArrayRef<ir::LinearOp> linears, Value weight,
                        Value bias) {
  ir::LinearOp first = linears.front();
  return builder.create<ir::LinearOp>(loc, type, first.getInput(), weight, bias, first.getActivationAttr(),
                                      first.getSplitInputAttr());
}

/// Matrices of one scale each keep them, as scales of their rows.
Operation *createJoined(OpBuilder &builder, Location loc, Type type, ArrayRef<ir::ScaledMatmulOp> linears, Value weight,
                        Value bias) {
  SmallVector<Value> scales =
      llvm::map_to_vector(linears, [&](ir::ScaledMatmulOp matmul) { return rowScales(builder, matmul); });
  Value scale = concat(builder, loc, scales);
  inheritLayer(scale.getDefiningOp(), {linears.front()});
  ir::ScaledMatmulOp first = linears.front();
  return builder.create<ir::ScaledMatmulOp>(loc, type, first.getInput(), first.getInputScale(), weight, scale, bias,
                                            first.getActivationAttr());
}

/// "layers.3.qkv_proj" for locations such as "layers.3.q_proj"; empty if the linears are named by another pattern.
std::string joinedName(ArrayRef<Operation *> linears) {
  StringRef common;
  for (Operation *linear : linears) {
    auto loc = dyn_cast<NameLoc>(linear->getLoc());
    StringRef prefix = loc ? loc.getName().getValue().rsplit('.').first : StringRef();
    if (prefix.empty() || (linear != linears.front() && prefix != common)) {
      return "";
    }
    common = prefix;
  }
  return (common + ".qkv_proj").str();
}

struct FuseQKVPass : public impl::FuseQKVPassBase<FuseQKVPass> {
  void runOnOperation() override {
    auto &dominance = getAnalysis<DominanceInfo>();
    SmallVector<ir::AttentionOp> attentions;
    getOperation().walk([&](ir::AttentionOp attention) { attentions.push_back(attention); });
    for (ir::AttentionOp attention : attentions) {
      numFused += fuse(findLinears<ir::LinearOp>(attention), dominance) ||
                  fuse(findLinears<ir::ScaledMatmulOp>(attention), dominance);
    }
  }

private:
  template <typename LinearOp> bool fuse(const SmallVector<LinearOp> &linears, DominanceInfo &dominance) {
    if (linears.empty()) {
      return false;
    }
    SmallVector<Operation *> group(linears.begin(), linears.end());
    llvm::sort(group, [](Operation *a, Operation *b) { return a->isBeforeInBlock(b); });
    Operation *point = group.front();
    SmallVector<Value> weights;
    for (LinearOp linear : linears) {
      // What the products share, their input, is known at the first of them.
      llvm::copy_if(linear->getOperands(), std::back_inserter(weights),
                    [&](Value operand) { return !llvm::is_contained(point->getOperands(), operand); });
    }
    auto transforms = transformsToHoist(weights, point, dominance);
    if (!transforms) {
      return false;
    }
    IRRewriter rewriter(&getContext());
    for (Operation *transform : *transforms) {
      rewriter.moveOpBefore(transform, point);
    }
    rewriter.setInsertionPoint(point);
    ir::SplitOp split = join<LinearOp>(rewriter, linears, group);
    for (auto [linear, part] : llvm::zip_equal(linears, split.getResults())) {
      rewriter.replaceOp(linear, part);
    }
    return true;
  }

  /// One product with all rows, split into the results of `linears`.
  template <typename LinearOp>
  static ir::SplitOp join(OpBuilder &builder, ArrayRef<LinearOp> linears, ArrayRef<Operation *> group) {
    Location parts = fuseLocations(group);
    std::string name = joinedName(SmallVector<Operation *>(linears.begin(), linears.end()));
    auto locationOf = [&](StringRef suffix) -> Location {
      return name.empty() ? parts : NameLoc::get(builder.getStringAttr(name + suffix), parts);
    };
    Location loc = locationOf("");
    SmallVector<Value> weights, biases;
    SmallVector<Type> types;
    for (LinearOp linear : linears) {
      weights.push_back(linear.getWeight());
      if (linear.getBias()) {
        biases.push_back(linear.getBias());
      }
      types.push_back(linear.getType());
    }
    Value weight = concat(builder, loc, weights);
    Value bias = biases.empty() ? Value() : concat(builder, locationOf(".bias"), biases);
    int64_t width = cast<RankedTensorType>(weight.getType()).getDimSize(0);
    LinearOp first = linears.front();
    Operation *joined =
        createJoined(builder, loc, first.getType().clone({ShapedType::kDynamic, width}), linears, weight, bias);
    auto split = builder.create<ir::SplitOp>(loc, types, joined->getResult(0));
    for (Operation *op :
         {weight.getDefiningOp(), bias ? bias.getDefiningOp() : nullptr, joined, split.getOperation()}) {
      if (op) {
        inheritLayer(op, group);
      }
    }
    return split;
  }
};

} // namespace
} // namespace nemotron::passes
