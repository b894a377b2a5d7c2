//===- CountOps.cpp - what each layer computes and reads ----------------------------------------------------------===//
#include "Passes.h"

#include <map>

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "llvm/ADT/DenseSet.h"
#include "llvm/ADT/TypeSwitch.h"
#include "llvm/Support/FormatVariadic.h"

using namespace mlir;
using namespace nemotron;

namespace {

double numElements(Value tensor) {
  return static_cast<double>(cast<RankedTensorType>(tensor.getType()).getNumElements());
}

int64_t sizeBytes(Value tensor) {
  auto type = cast<RankedTensorType>(tensor.getType());
  return type.getNumElements() * type.getElementTypeBitWidth() / 8;
}

/// Multiplications and additions for one token; `context` is the number of positions that an attention reads.
double flopsPerToken(Operation *op, double context) {
  return llvm::TypeSwitch<Operation *, double>(op)
      .Case<ir::LinearOp, ir::MoeRouteOp>([](auto op) { return 2 * numElements(op.getWeight()); })
      .Case([](ir::MoeExpertsOp op) {
        auto up = cast<RankedTensorType>(op.getUp().getType());
        auto picks = cast<RankedTensorType>(op.getIndices().getType()).getDimSize(1);
        return 2.0 * 2.0 * picks * up.getDimSize(1) * up.getDimSize(2);
      })
      .Case([](ir::CausalConv1dOp op) { return 2 * numElements(op.getWeight()); })
      .Case<ir::SsmScanOp, ir::SsmScanGatedNormOp>([](auto op) {
        return 5.0 * op.getNumHeads() * op.getHeadDim() * op.getStateSize(); // decay, outer product, sum, dot product
      })
      .Case([&](ir::AttentionOp op) { return 4.0 * op.getNumHeads() * op.getHeadDim() * context; })
      .Default(0.0); // one or a few a channel
}

struct LayerCount {
  int64_t numOps = 0;
  int64_t weightBytes = 0;
  double flops = 0;
  llvm::DenseSet<Value> weights; ///< those counted
};

struct CountOpsPass : public PassWrapper<CountOpsPass, OperationPass<func::FuncOp>> {
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(CountOpsPass)

  CountOpsPass() = default;
  CountOpsPass(const CountOpsPass &other) : PassWrapper(other) {}

  StringRef getArgument() const final { return "example-count-ops"; }
  StringRef getDescription() const final { return "Report ops, flops and bytes of weights of each layer"; }

  void runOnOperation() override {
    std::map<int64_t, LayerCount> layers; // -1: outside of layers
    getOperation().walk([&](Operation *op) {
      if (isa<ir::NemotronDialect>(op->getDialect()) && !op->hasTrait<ir::WeightTransform>()) {
        count(op, layers[example::layerOf(op).value_or(-1)]);
      }
    });
    for (auto &[layer, count] : layers) {
      report(layer, count);
    }
    markAllAnalysesPreserved();
  }

private:
  void count(Operation *op, LayerCount &layer) {
    ++layer.numOps;
    layer.flops += flopsPerToken(op, context);
    for (Value operand : op->getOperands()) {
      Operation *source = operand.getDefiningOp();
      if (source && source->hasTrait<ir::WeightTransform>() && layer.weights.insert(operand).second) {
        layer.weightBytes += sizeBytes(operand);
      }
    }
  }

  void report(int64_t layer, const LayerCount &count) {
    std::string name = layer < 0 ? "outside of layers" : "layer " + std::to_string(layer);
    emitRemark(getOperation().getLoc()) << llvm::formatv("{0}: {1} ops, {2:F3} MFLOP a token, {3:F3} MB of weights",
                                                         name, count.numOps, count.flops / 1e6, count.weightBytes / 1e6)
                                               .str();
  }

  Option<int64_t> context{*this, "context", llvm::cl::desc("Positions that an attention reads"), llvm::cl::init(0)};
};

} // namespace

std::unique_ptr<Pass> example::createCountOpsPass() { return std::make_unique<CountOpsPass>(); }
