//===- Dispatches.cpp - which kernel an op becomes
//------------------------------------------------------------------===//
//
// One function an op, in the order of docs/kernels.md. Names of arguments and parameters are part of the plan format,
// and all targets have the same.
//
//===----------------------------------------------------------------------===//
#include "codegen/Dispatches.h"

#include "mlir/IR/TypeUtilities.h"
#include "runtime/plan/layout.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace nemotron::plan;

namespace nemotron::codegen {

//===----------------------------------------------------------------------===//
// Formats of weights
//===----------------------------------------------------------------------===//

/// Norm weights, biases, `A_log` and their like: f32, whatever the checkpoint has.
static WeightFormat vectorFormat(Operation *op) { return {Layout::RowMajor, Float32Type::get(op->getContext())}; }

/// Kernels know f32 and bf16. Widening f16 changes no result: unlike bf16 it does not ask for a rounded input.
static Type matrixElement(Value weight) {
  Type element = getElementTypeOrSelf(weight.getType());
  return element.isF16() ? Float32Type::get(weight.getContext()) : element;
}

static WeightFormat panelFormat(Value weight) { return {Layout::Panel, matrixElement(weight)}; }

/// The scales of `matrix`, or of what it is multiplied by: f32, and named after it.
static void addScale(DispatchSpec &spec, StringRef role, Value scale, Value matrix, StringRef name = "weight_scale") {
  auto rank = [](Value value) { return cast<RankedTensorType>(value.getType()).getRank(); };
  // Scales of groups are a matrix like the one they scale: a vector of its panels has those of 16 outputs.
  Layout layout = scale && rank(scale) == rank(matrix) ? Layout::Panel : Layout::RowMajor;
  spec.weight(role, scale, {layout, Float32Type::get(matrix.getContext())}, {matrix, name});
}

//===----------------------------------------------------------------------===//
// Ops
//===----------------------------------------------------------------------===//

static DispatchSpec lowerOp(ir::EmbeddingOp op) {
  DispatchSpec spec("embedding");
  spec.weight("weight", op.getWeight(), {Layout::RowMajor, matrixElement(op.getWeight())});
  return spec.output("output", op.getResult());
}

static DispatchSpec lowerOp(ir::SelectRowsOp op) {
  DispatchSpec spec("select_rows");
  return spec.input("input", op.getInput()).output("output", op.getResult()).selectsRows();
}

static DispatchSpec lowerOp(ir::AddOp op) {
  DispatchSpec spec("add");
  return spec.input("lhs", op.getLhs()).input("rhs", op.getRhs()).output("output", op.getResult());
}

static DispatchSpec lowerOp(ir::Relu2Op op) {
  DispatchSpec spec("relu2");
  return spec.input("input", op.getInput()).output("output", op.getResult());
}

static DispatchSpec lowerOp(ir::SiluOp op) {
  DispatchSpec spec("silu");
  return spec.input("input", op.getInput()).output("output", op.getResult());
}

template <typename Op> static DispatchSpec &addRMSNorm(DispatchSpec &spec, Op op) {
  return spec.weight("weight", op.getWeight(), vectorFormat(op)).parameter("eps", op.getEpsAttr());
}

template <typename Op> static DispatchSpec &addLayerNorm(DispatchSpec &spec, Op op) {
  spec.weight("weight", op.getWeight(), vectorFormat(op)).weight("bias", op.getBias(), vectorFormat(op));
  spec.parameter("eps", op.getEpsAttr());
  return spec.parameter("unit_offset", BoolAttr::get(op.getContext(), op.getUnitOffset()));
}

/// What the norms that add have besides a norm.
template <typename Op> static DispatchSpec &addSum(DispatchSpec &spec, Op op) {
  return spec.input("residual", op.getResidual()).input("delta", op.getDelta()).output("sum", op.getSum());
}

/// The codes of an op that quantizes, their scales, and where these come from.
template <typename Op> static DispatchSpec &addQuantized(DispatchSpec &spec, Op op) {
  Builder builder(op.getContext());
  spec.output("output", op.getResult()).output("scale", op.getScale());
  spec.parameter("scaling", builder.getStringAttr(ir::stringifyScaling(op.getScaling())));
  FloatAttr constant = op.getStaticScaleAttr();
  return spec.parameter("scale", constant ? constant : builder.getF32FloatAttr(0));
}

static DispatchSpec lowerOp(ir::RMSNormOp op) {
  DispatchSpec spec("rms_norm");
  return addRMSNorm(spec.input("input", op.getInput()).output("output", op.getResult()), op);
}

static DispatchSpec lowerOp(ir::AddRMSNormOp op) {
  DispatchSpec spec("add_rms_norm");
  return addRMSNorm(addSum(spec, op).output("output", op.getResult()), op);
}

static DispatchSpec lowerOp(ir::LayerNormOp op) {
  DispatchSpec spec("layer_norm");
  return addLayerNorm(spec.input("input", op.getInput()).output("output", op.getResult()), op);
}

static DispatchSpec lowerOp(ir::AddLayerNormOp op) {
  DispatchSpec spec("add_layer_norm");
  return addLayerNorm(addSum(spec, op).output("output", op.getResult()), op);
}

static DispatchSpec lowerOp(ir::RMSNormQuantizeOp op) {
  DispatchSpec spec("rms_norm_quantize");
  return addRMSNorm(addQuantized(spec.input("input", op.getInput()), op), op);
}

static DispatchSpec lowerOp(ir::AddRMSNormQuantizeOp op) {
  DispatchSpec spec("add_rms_norm_quantize");
  return addRMSNorm(addQuantized(addSum(spec, op), op), op);
}

static DispatchSpec lowerOp(ir::LayerNormQuantizeOp op) {
  DispatchSpec spec("layer_norm_quantize");
  return addLayerNorm(addQuantized(spec.input("input", op.getInput()), op), op);
}

static DispatchSpec lowerOp(ir::AddLayerNormQuantizeOp op) {
  DispatchSpec spec("add_layer_norm_quantize");
  return addLayerNorm(addQuantized(addSum(spec, op), op), op);
}

static StringAttr activationName(Operation *op, ir::Activation activation) {
  return StringAttr::get(op->getContext(), ir::stringifyActivation(activation));
}

static DispatchSpec lowerOp(ir::QuantizeOp op) {
  DispatchSpec spec("quantize");
  addQuantized(spec.input("input", op.getInput()), op);
  return spec.parameter("activation", activationName(op, op.getActivation()));
}

static DispatchSpec lowerOp(ir::LinearOp op) {
  DispatchSpec spec("linear");
  spec.input("input", op.getInput()).output("output", op.getResult());
  spec.weight("weight", op.getWeight(), panelFormat(op.getWeight())).weight("bias", op.getBias(), vectorFormat(op));
  spec.parameter("activation", activationName(op, op.getActivation()));
  return spec.parameter("split_input", BoolAttr::get(op.getContext(), op.getSplitInput()));
}

static DispatchSpec lowerOp(ir::ScaledMatmulOp op) {
  DispatchSpec spec("scaled_matmul");
  spec.input("input", op.getInput()).output("output", op.getResult());
  if (op.getInputScale()) {
    spec.input("input_scale", op.getInputScale());
  }
  spec.weight("weight", op.getWeight(), panelFormat(op.getWeight())).weight("bias", op.getBias(), vectorFormat(op));
  addScale(spec, "weight_scale", op.getWeightScale(), op.getWeight());
  return spec.parameter("activation", activationName(op, op.getActivation()));
}

static DispatchSpec lowerOp(ir::RotaryEmbeddingOp op) {
  DispatchSpec spec("rotary_embedding");
  spec.input("input", op.getInput()).output("output", op.getResult());
  spec.parameter("head_dim", op.getHeadDimAttr()).parameter("rotary_dim", op.getRotaryDimAttr());
  spec.parameter("theta", op.getThetaAttr()).parameter("position_scale", op.getPositionScaleAttr());
  return spec.parameter("bf16_frequencies", BoolAttr::get(op.getContext(), op.getBf16Frequencies()));
}

static DispatchSpec lowerOp(ir::AttentionOp op) {
  DispatchSpec spec("attention");
  spec.input("query", op.getQuery()).input("key", op.getKey()).input("value", op.getValue());
  spec.output("output", op.getResult()).state("cache", op.getStateAttr());
  spec.parameter("num_heads", op.getNumHeadsAttr()).parameter("num_kv_heads", op.getNumKvHeadsAttr());
  spec.parameter("head_dim", op.getHeadDimAttr()).parameter("scale", op.getScaleAttr());
  return spec.parameter("key_scale", op.getKeyScaleAttr()).parameter("value_scale", op.getValueScaleAttr());
}

static DispatchSpec lowerOp(ir::CausalConv1dOp op) {
  DispatchSpec spec("causal_conv1d");
  spec.input("input", op.getInput()).output("output", op.getResult()).state("conv", op.getStateAttr());
  WeightFormat format = vectorFormat(op);
  format.transposed = true; // [W, C]: a vector register holds neighbouring channels
  spec.weight("weight", op.getWeight(), format).weight("bias", op.getBias(), vectorFormat(op));
  return spec.parameter("activation", activationName(op, op.getActivation()));
}

/// What the scans share.
template <typename Op> static DispatchSpec &addScan(DispatchSpec &spec, Op op) {
  spec.input("x", op.getX()).input("b", op.getB()).input("c", op.getC()).input("dt", op.getDt());
  spec.output("output", op.getResult()).state("ssm", op.getStateAttr());
  const int64_t channels = (op.getHeadDim() + 1) * op.getNumHeads() + op.getNGroups() * op.getStateSize();
  spec.ownState("recent", op.getStateAttr(), ir::StateKind::Recent,
                RankedTensorType::get({runtime::kScanChunk, channels}, Float32Type::get(op.getContext())));
  spec.weight("a_log", op.getALog(), vectorFormat(op)).weight("dt_bias", op.getDtBias(), vectorFormat(op));
  spec.parameter("num_heads", op.getNumHeadsAttr()).parameter("head_dim", op.getHeadDimAttr());
  spec.parameter("n_groups", op.getNGroupsAttr()).parameter("state_size", op.getStateSizeAttr());
  return spec.parameter("dt_min", op.getDtMinAttr()).parameter("dt_max", op.getDtMaxAttr());
}

static DispatchSpec lowerOp(ir::SsmScanOp op) {
  DispatchSpec spec("ssm_scan");
  return addScan(spec, op);
}

static DispatchSpec lowerOp(ir::SsmSkipOp op) {
  DispatchSpec spec("ssm_skip");
  spec.input("y", op.getY()).input("x", op.getX()).output("output", op.getResult());
  spec.weight("d", op.getD(), vectorFormat(op));
  int64_t numHeads = cast<RankedTensorType>(op.getD().getType()).getDimSize(0);
  spec.parameter("num_heads", Builder(op.getContext()).getI64IntegerAttr(numHeads));
  return spec.parameter("head_dim", op.getHeadDimAttr());
}

static DispatchSpec lowerOp(ir::GatedRMSNormOp op) {
  DispatchSpec spec("gated_rms_norm");
  spec.input("input", op.getInput()).input("gate", op.getGate()).output("output", op.getResult());
  spec.weight("weight", op.getWeight(), vectorFormat(op));
  return spec.parameter("n_groups", op.getNGroupsAttr()).parameter("eps", op.getEpsAttr());
}

static DispatchSpec lowerOp(ir::SsmScanGatedNormOp op) {
  DispatchSpec spec("ssm_scan_gated_norm");
  addScan(spec, op).input("gate", op.getGate());
  spec.weight("d", op.getD(), vectorFormat(op)).weight("weight", op.getWeight(), vectorFormat(op));
  return spec.parameter("eps", op.getEpsAttr());
}

static DispatchSpec lowerOp(ir::MoeRouteOp op) {
  DispatchSpec spec("moe_route");
  spec.input("input", op.getInput()).output("indices", op.getIndices()).output("weights", op.getWeights());
  // The choice of experts is made in f32 whatever the matrices have.
  spec.weight("weight", op.getWeight(), {Layout::Panel, Float32Type::get(op.getContext())});
  spec.weight("correction_bias", op.getCorrectionBias(), vectorFormat(op));
  int64_t numExperts = cast<RankedTensorType>(op.getIndices().getType()).getDimSize(1);
  spec.parameter("num_experts_per_tok", Builder(op.getContext()).getI64IntegerAttr(numExperts));
  spec.parameter("n_group", op.getNGroupAttr()).parameter("topk_group", op.getTopkGroupAttr());
  spec.parameter("norm_topk_prob", op.getNormTopkProbAttr());
  return spec.parameter("routed_scaling_factor", op.getRoutedScalingFactorAttr());
}

static DispatchSpec lowerOp(ir::MoeExpertsOp op) {
  DispatchSpec spec("moe_experts");
  spec.input("input", op.getInput()).input("indices", op.getIndices()).input("weights", op.getWeights());
  spec.output("output", op.getResult());
  spec.weight("up", op.getUp(), panelFormat(op.getUp())).weight("down", op.getDown(), panelFormat(op.getDown()));
  return spec.parameter("split_input", BoolAttr::get(op.getContext(), op.getSplitInput()));
}

static DispatchSpec lowerOp(ir::ScaledMoeExpertsOp op) {
  DispatchSpec spec("scaled_moe_experts");
  spec.input("input", op.getInput()).input("indices", op.getIndices()).input("weights", op.getWeights());
  spec.output("output", op.getResult());
  spec.weight("up", op.getUp(), panelFormat(op.getUp())).weight("down", op.getDown(), panelFormat(op.getDown()));
  addScale(spec, "up_scale", op.getUpScale(), op.getUp());
  addScale(spec, "down_scale", op.getDownScale(), op.getDown());
  addScale(spec, "up_input_scale", op.getUpInputScale(), op.getUp(), "input_scale");
  addScale(spec, "down_input_scale", op.getDownInputScale(), op.getDown(), "input_scale");
  const bool isI8 = getElementTypeOrSelf(op.getUp()).isInteger(8);
  StringRef activations = op.getWeightOnly() ? "bf16" : isI8 ? "i8" : "e4m3";
  return spec.parameter("activations", StringAttr::get(op.getContext(), activations));
}

//===----------------------------------------------------------------------===//
// All ops
//===----------------------------------------------------------------------===//

FailureOr<DispatchSpec> makeDispatch(Operation *op, StringRef target) {
  return llvm::TypeSwitch<Operation *, FailureOr<DispatchSpec>>(op)
      .Case<ir::EmbeddingOp, ir::SelectRowsOp, ir::AddOp, ir::Relu2Op, ir::SiluOp, ir::RMSNormOp, ir::AddRMSNormOp,
            ir::LayerNormOp, ir::AddLayerNormOp, ir::RMSNormQuantizeOp, ir::AddRMSNormQuantizeOp,
            ir::LayerNormQuantizeOp, ir::AddLayerNormQuantizeOp, ir::QuantizeOp, ir::LinearOp, ir::ScaledMatmulOp,
            ir::RotaryEmbeddingOp, ir::AttentionOp, ir::CausalConv1dOp, ir::SsmScanOp, ir::SsmSkipOp,
            ir::GatedRMSNormOp, ir::SsmScanGatedNormOp, ir::MoeRouteOp, ir::MoeExpertsOp, ir::ScaledMoeExpertsOp>(
          [&](auto concrete) { return lowerOp(concrete).onTarget(target); })
      .Default([&](Operation *unknown) {
        return unknown->emitError() << "no kernel of target " << target << " for '" << unknown->getName() << "'";
      });
}

} // namespace nemotron::codegen
