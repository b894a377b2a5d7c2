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

/// The linear that `value` comes from, if there is nothing but a rotary embedding on the way.
ir::LinearOp findLinear(Value value) {
  if (auto rotary = value.getDefiningOp<ir::RotaryEmbeddingOp>()) {
    value = rotary.getInput();
  }
  return value.getDefiningOp<ir::LinearOp>();
}

Type biasType(ir::LinearOp linear) { return linear.getBias() ? getElementTypeOrSelf(linear.getBias()) : Type(); }

/// Whether rows of the matrices of `a` and `b` may stand in one matrix.
bool canJoin(ir::LinearOp a, ir::LinearOp b) {
  return a.getInput() == b.getInput() && a->getBlock() == b->getBlock() && a.getActivation() == b.getActivation() &&
         a.getSplitInput() == b.getSplitInput() && biasType(a) == biasType(b) &&
         getElementTypeOrSelf(a.getWeight()) == getElementTypeOrSelf(b.getWeight()) &&
         getElementTypeOrSelf(a.getResult()) == getElementTypeOrSelf(b.getResult());
}

/// The linears of query, key and value, each once, in this order. Empty if there are not at least two that can be
/// joined.
SmallVector<ir::LinearOp> findLinears(ir::AttentionOp attention) {
  SmallVector<ir::LinearOp> linears;
  for (Value value : {attention.getQuery(), attention.getKey(), attention.getValue()}) {
    ir::LinearOp linear = findLinear(value);
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

/// "layers.3.qkv_proj" for locations such as "layers.3.q_proj"; empty if the linears are named by another pattern.
std::string joinedName(ArrayRef<ir::LinearOp> linears) {
  StringRef common;
  for (ir::LinearOp linear : linears) {
    auto loc = dyn_cast<NameLoc>(linear.getLoc());
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
      SmallVector<ir::LinearOp> linears = findLinears(attention);
      numFused += !linears.empty() && fuse(linears, dominance);
    }
  }

private:
  bool fuse(ArrayRef<ir::LinearOp> linears, DominanceInfo &dominance) {
    SmallVector<Value> weights, biases;
    SmallVector<Operation *> group;
    for (ir::LinearOp linear : linears) {
      weights.push_back(linear.getWeight());
      if (linear.getBias()) {
        biases.push_back(linear.getBias());
      }
      group.push_back(linear);
    }
    llvm::sort(group, [](Operation *a, Operation *b) { return a->isBeforeInBlock(b); });
    Operation *point = group.front();
    auto transforms = transformsToHoist(llvm::to_vector(llvm::concat<Value>(weights, biases)), point, dominance);
    if (!transforms) {
      return false;
    }
    IRRewriter rewriter(&getContext());
    for (Operation *transform : *transforms) {
      rewriter.moveOpBefore(transform, point);
    }
    rewriter.setInsertionPoint(point);
    ir::SplitOp split = createJoined(rewriter, linears, weights, biases, group);
    for (auto [linear, part] : llvm::zip_equal(linears, split.getResults())) {
      rewriter.replaceOp(linear, part);
    }
    return true;
  }

  /// One linear with all rows, split into the results of `linears`.
  static ir::SplitOp createJoined(OpBuilder &builder, ArrayRef<ir::LinearOp> linears, ValueRange weights,
                                  ValueRange biases, ArrayRef<Operation *> group) {
    Location parts = fuseLocations(group);
    std::string name = joinedName(linears);
    auto locationOf = [&](StringRef suffix) -> Location {
      return name.empty() ? parts : NameLoc::get(builder.getStringAttr(name + suffix), parts);
    };
    Location loc = locationOf("");
    Value weight = concat(builder, loc, weights);
    Value bias = biases.empty() ? Value() : concat(builder, locationOf(".bias"), biases);
    ir::LinearOp first = linears.front();
    int64_t width = cast<RankedTensorType>(weight.getType()).getDimSize(0);
    Type type = first.getType().clone({ShapedType::kDynamic, width});
    auto joined = builder.create<ir::LinearOp>(loc, type, first.getInput(), weight, bias, first.getActivationAttr(),
                                               first.getSplitInputAttr());
    SmallVector<Type> types =
        llvm::map_to_vector(linears, [](ir::LinearOp linear) -> Type { return linear.getType(); });
    auto split = builder.create<ir::SplitOp>(loc, types, joined);

    for (Operation *op :
         {weight.getDefiningOp(), bias ? bias.getDefiningOp() : nullptr, joined.getOperation(), split.getOperation()}) {
      if (op) {
        inheritLayer(op, group);
      }
    }
    return split;
  }
};

} // namespace
} // namespace nemotron::passes
