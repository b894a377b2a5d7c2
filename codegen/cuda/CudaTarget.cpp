//===- CudaTarget.cpp - how kernels are specialised ---------------------------------------------------------------===//
//
// One function an op: which body, with which constants, launched with which grids. What a kernel does, and what bounds
// it, stands in its body.
//
//===----------------------------------------------------------------------===//
#include "codegen/cuda/CudaTarget.h"

#include <cmath>

#include "codegen/Dispatches.h"
#include "codegen/cuda/CudaKernels.h"
#include "runtime/base/dtype.h"
#include "runtime/plan/step_tables.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/Support/FormatVariadic.h"

using namespace mlir;
using namespace nemotron::plan;

namespace nemotron::codegen {

//===----------------------------------------------------------------------===//
// Shapes of rows
//===----------------------------------------------------------------------===//

/// The most elements, a power of two up to 16 bytes of F32, that rows of these buffers can be read and written by.
static int64_t vectorOf(ArrayRef<BufferShape> shapes) {
  int64_t vector = 4;
  for (const BufferShape &shape : shapes) {
    while (shape.element && (shape.columns % vector != 0 || shape.alignment % vector != 0)) {
      vector /= 2;
    }
  }
  return vector;
}

/// Threads for a row of so many steps of a thread: whole warps, at most `most`, `perThread` steps each if they suffice.
static int64_t threadsFor(int64_t steps, int64_t perThread, int64_t most) {
  return std::clamp<int64_t>(llvm::alignTo(llvm::divideCeil(steps, perThread), 32), 32, most);
}

static std::string rows(const BufferShape &shape) { return shape.isRowSpace ? "R" : "T"; }

//===----------------------------------------------------------------------===//
// Elementwise
//===----------------------------------------------------------------------===//

static FailureOr<KernelSpec> specializeEmbedding(DispatchOp dispatch) {
  KernelText text(dispatch, "elementwise");
  BufferShape output = text.shape("output");
  const int64_t vector = vectorOf({output}), threads = threadsFor(output.columns / vector, 1, 256);
  text.type("Output", output.element).type("Weight", text.weightType("weight").getElementType());
  text.constant("kColumns", output.columns).constant("kOutputStride", output.stride);
  text.constant("kVector", vector).constant("kThreads", threads);
  text.launch("embedding", "Embedding<Config>", {"T"}, threads, 0, {"output output", "weight weight", "step"});
  return text.finish(KernelText::cppType(output.element) + "_" + Twine(output.columns));
}

static FailureOr<KernelSpec> specializeSelectRows(DispatchOp dispatch) {
  KernelText text(dispatch, "elementwise");
  BufferShape input = text.shape("input"), output = text.shape("output");
  const int64_t vector = vectorOf({input, output}), threads = threadsFor(output.columns / vector, 1, 256);
  text.type("Input", input.element).type("Output", output.element);
  text.constant("kColumns", output.columns).constant("kInputStride", input.stride);
  text.constant("kOutputStride", output.stride).constant("kVector", vector).constant("kThreads", threads);
  text.launch("select_rows", "SelectRows<Config>", {"R"}, threads, 0, {"input input", "output output", "step"});
  return text.finish(KernelText::cppType(output.element) + "_" + Twine(output.columns));
}

static FailureOr<KernelSpec> specializeActivation(DispatchOp dispatch, StringRef function, StringRef activation) {
  KernelText text(dispatch, "elementwise");
  BufferShape input = text.shape("input"), output = text.shape("output");
  const int64_t vector = vectorOf({input, output}), threads = threadsFor(output.columns / vector, 1, 256);
  text.type("Input", input.element).type("Output", output.element).enumerator("kActivation", "Activation", activation);
  text.constant("kColumns", output.columns).constant("kInputStride", input.stride);
  text.constant("kOutputStride", output.stride).constant("kVector", vector).constant("kThreads", threads);
  text.launch(function, "ActivateRows<Config>", {rows(output)}, threads, 0, {"input input", "output output"});
  return text.finish(KernelText::cppType(output.element) + "_" + Twine(output.columns));
}

static FailureOr<KernelSpec> specializeAdd(DispatchOp dispatch) {
  KernelText text(dispatch, "elementwise");
  BufferShape lhs = text.shape("lhs"), rhs = text.shape("rhs"), output = text.shape("output");
  const int64_t vector = vectorOf({lhs, rhs, output}), threads = threadsFor(output.columns / vector, 1, 256);
  text.constant("kColumns", output.columns).constant("kLhsStride", lhs.stride).constant("kRhsStride", rhs.stride);
  text.constant("kOutputStride", output.stride).constant("kVector", vector).constant("kThreads", threads);
  text.launch("add", "Add<Config>", {rows(output)}, threads, 0, {"input lhs", "input rhs", "output output"});
  return text.finish(Twine("f32_") + Twine(output.columns));
}

static FailureOr<KernelSpec> specializeSsmSkip(DispatchOp dispatch) {
  KernelText text(dispatch, "elementwise");
  BufferShape y = text.shape("y"), x = text.shape("x"), output = text.shape("output");
  const int64_t threads = threadsFor(output.columns, 4, 256);
  text.constant("kColumns", output.columns).constant("kHeadDim", text.integer("head_dim"));
  text.constant("kYStride", y.stride).constant("kXStride", x.stride).constant("kOutputStride", output.stride);
  text.constant("kThreads", threads);
  text.launch("ssm_skip", "SsmSkip<Config>", {"T"}, threads, 0, {"input y", "input x", "output output", "weight d"});
  return text.finish(Twine("f32_") + Twine(output.columns));
}

static FailureOr<KernelSpec> specializeRotaryEmbedding(DispatchOp dispatch) {
  KernelText text(dispatch, "elementwise");
  BufferShape input = text.shape("input"), output = text.shape("output");
  const int64_t rotaryDim = text.integer("rotary_dim"), threads = threadsFor(output.columns, 4, 256);
  SmallVector<std::string> frequencies;
  for (int64_t i = 0; i < rotaryDim / 2; ++i) {
    auto frequency = static_cast<float>(1.0 / std::pow(text.number("theta"), 2.0 * i / rotaryDim));
    frequencies.push_back(KernelText::floatLiteral(
        text.flag("bf16_frequencies") ? runtime::BF16ToF32(runtime::F32ToBF16(frequency)) : frequency));
  }
  text.declaration(llvm::formatv("__constant__ float frequencies[{0}] = {{{1}};",
                                 std::max<size_t>(1, frequencies.size()), llvm::join(frequencies, ", "))
                       .str());
  text.member("static __device__ float Frequency(int i) { return frequencies[i]; }");
  text.floatConstant("kPositionScale", text.number("position_scale")).constant("kRotaryDim", rotaryDim);
  text.constant("kHeadDim", text.integer("head_dim")).constant("kColumns", output.columns);
  text.constant("kInputStride", input.stride).constant("kOutputStride", output.stride).constant("kThreads", threads);
  text.launch("rotary_embedding", "RotaryEmbedding<Config>", {"T"}, threads, 0,
              {"input input", "output output", "step"});
  return text.finish(Twine("f32_") + Twine(output.columns / text.integer("head_dim")) + "x" +
                     Twine(text.integer("head_dim")));
}

//===----------------------------------------------------------------------===//
// Rows
//===----------------------------------------------------------------------===//

/// What all kernels of rows have. Threads keep 4 vectors, up to 1024 threads, and then more of them.
static int64_t addRow(KernelText &text, const BufferShape &row, int64_t columns, int64_t vector) {
  const int64_t threads = threadsFor(llvm::divideCeil(columns, vector), columns > 4096 ? 4 : 2, 1024);
  text.constant("kColumns", columns).constant("kVector", vector).constant("kThreads", threads);
  return threads;
}

/// How the output of a row is scaled: "none" if it is not codes. Returns that.
static StringRef addScaling(KernelText &text, DispatchOp dispatch) {
  StringRef scaling = dispatch.getParameters().contains("scaling") ? text.string("scaling") : "none";
  text.enumerator("kScaling", "Scaling",
                  scaling == "none"    ? "None"
                  : scaling == "token" ? "Token"
                  : scaling == "step"  ? "Step"
                                       : "Static");
  text.constant("kScaleStride", text.shape("scale").stride);
  return scaling;
}

static FailureOr<KernelSpec> specializeNorm(DispatchOp dispatch, StringRef function) {
  KernelText text(dispatch, "rows");
  const bool adds = function.starts_with("add_"), isLayerNorm = function.contains("layer_norm");
  BufferShape input = text.shape(adds ? "delta" : "input"), residual = text.shape("residual"), sum = text.shape("sum");
  BufferShape output = text.shape("output");
  if (addScaling(text, dispatch) == "step") {
    return dispatch.emitOpError() << "scales by the maximum of a step, expected scaling token or static of a norm";
  }
  const int64_t threads = addRow(text, output, output.columns, vectorOf({input, residual, sum, output}));
  text.type("Input", input.element).type("Output", output.element);
  text.constant("kInputStride", input.stride).constant("kOutputStride", output.stride);
  text.constant("kResidualStride", residual.stride).constant("kSumStride", sum.stride);
  text.constant("kAdd", adds).constant("kLayerNorm", isLayerNorm).constant("kBias", text.hasWeight("bias"));
  text.constant("kUnitOffset", isLayerNorm && text.flag("unit_offset")).floatConstant("kEps", text.number("eps"));
  text.launch(function, "Norm<Config>", {rows(output)}, threads, 0,
              {adds ? "input delta" : "input input", "input residual", "output sum", "output output", "output scale",
               "weight weight", "weight bias", "parameter scale"});
  return text.finish(KernelText::cppType(output.element) + "_" + Twine(output.columns));
}

static FailureOr<KernelSpec> specializeQuantize(DispatchOp dispatch) {
  KernelText text(dispatch, "rows");
  BufferShape input = text.shape("input"), output = text.shape("output");
  const bool isOfStep = addScaling(text, dispatch) == "step";
  if (isOfStep && !text.shape("maximum").element) {
    return dispatch.emitOpError() << "scales by the maximum of a step, expected a zeroed output 'maximum' to gather it";
  }
  const int64_t threads = addRow(text, output, output.columns, vectorOf({input, output}));
  text.type("Input", input.element).type("Output", output.element);
  text.constant("kInputStride", input.stride).constant("kOutputStride", output.stride);
  text.enumerator("kActivation", "Activation", text.string("activation") == "relu2" ? "Relu2" : "None");
  if (isOfStep) {
    text.launch("step_maximum", "StepMaximum<Config>", {rows(output)}, threads, 0, {"input input", "output maximum"});
  }
  text.launch("quantize", "Quantize<Config>", {rows(output)}, threads, 0,
              {"input input", "output output", "output scale", "output maximum", "parameter scale"});
  return text.finish(KernelText::cppType(output.element) + "_" + Twine(output.columns));
}

static FailureOr<KernelSpec> specializeGatedRMSNorm(DispatchOp dispatch) {
  KernelText text(dispatch, "rows");
  BufferShape input = text.shape("input"), gate = text.shape("gate"), output = text.shape("output");
  const int64_t groups = text.integer("n_groups"), width = output.columns / groups;
  int64_t vector = vectorOf({input, gate, output});
  while (width % vector != 0) {
    vector /= 2;
  }
  const int64_t threads = addRow(text, output, width, vector);
  text.type("Output", output.element).constant("kInputStride", input.stride).constant("kGateStride", gate.stride);
  text.constant("kOutputStride", output.stride).floatConstant("kEps", text.number("eps"));
  text.launch("gated_rms_norm", "GatedRMSNorm<Config>", {"T", std::to_string(groups)}, threads, 0,
              {"input input", "input gate", "output output", "weight weight"});
  return text.finish(Twine(KernelText::cppType(output.element)) + "_" + Twine(groups) + "x" + Twine(width));
}

//===----------------------------------------------------------------------===//
// CudaTarget
//===----------------------------------------------------------------------===//

LogicalResult CudaTarget::lower(Operation *op, PlanBuilder &builder) const {
  FailureOr<DispatchSpec> spec = makeDispatch(op, getName());
  if (failed(spec)) {
    return failure();
  }
  if (auto scan = dyn_cast<ir::SsmScanGatedNormOp>(op);
      scan && scanNormalizes(scan.getNumHeads() / scan.getNGroups() * scan.getHeadDim(), scan.getStateSize())) {
    spec->zeroed("counters", scan.getNGroups(), IntegerType::get(op->getContext(), 32));
  }
  if (auto quantize = dyn_cast<ir::QuantizeOp>(op); quantize && quantize.getScaling() == ir::Scaling::Step) {
    spec->zeroed("maximum", 1, Float32Type::get(op->getContext())); // its first row is that of the step
  }
  if (auto experts = dyn_cast<ir::ScaledMoeExpertsOp>(op);
      experts && !experts.getWeightOnly() && !experts.getDownInputScale()) {
    const int64_t picks = cast<RankedTensorType>(experts.getIndices().getType()).getDimSize(1);
    spec->zeroed("hidden_maxima", picks, Float32Type::get(op->getContext())); // of the rows that `down` quantizes
  }
  return builder.dispatch(op, spec->layMatrices(Layout::Fragment));
}

SamplerSpec CudaTarget::sampler() const { return {"cuda.sample", sizeof(runtime::SampledRow) / sizeof(int32_t)}; }

Type CudaTarget::preferredInput(DispatchOp dispatch, StringRef input, Type type) const {
  StringRef kernel = dispatch.getKernel();
  if (input != "input" || (kernel != "cuda.linear" && kernel != "cuda.scaled_matmul")) {
    return {};
  }
  Builder builder(dispatch.getContext());
  auto splits = dispatch.getParameters().getAs<BoolAttr>("split_input");
  const bool quantizes = dispatch.getParameters().contains("input_activation");
  if (type.isF32() && !quantizes && !(splits && splits.getValue())) {
    return builder.getBF16Type();
  }
  return type.isFloat8E4M3FN() && !multipliesE4M3(dispatch) ? builder.getF16Type() : Type();
}

bool CudaTarget::storesAs(DispatchOp dispatch, StringRef output, Type type) const {
  static const llvm::StringSet<> storeBF16 = {
      "cuda.rms_norm",           "cuda.add_rms_norm", "cuda.layer_norm",    "cuda.add_layer_norm", "cuda.relu2",
      "cuda.gated_rms_norm",     "cuda.linear",       "cuda.scaled_matmul", "cuda.attention",      "cuda.select_rows",
      "cuda.ssm_scan_gated_norm"};
  static const llvm::StringSet<> storeCodes = {"cuda.rms_norm_quantize",
                                               "cuda.add_rms_norm_quantize",
                                               "cuda.layer_norm_quantize",
                                               "cuda.add_layer_norm_quantize",
                                               "cuda.quantize",
                                               "cuda.linear",
                                               "cuda.scaled_matmul"};
  return output == "output" && (type.isBF16() ? storeBF16 : storeCodes).contains(dispatch.getKernel());
}

FailureOr<KernelSpec> CudaTarget::specialize(DispatchOp dispatch) const {
  StringRef op = dispatch.getKernel();
  op.consume_front("cuda.");
  using Function = FailureOr<KernelSpec> (*)(DispatchOp);
  static const llvm::StringMap<Function> functions = {
      {"embedding", specializeEmbedding},
      {"select_rows", specializeSelectRows},
      {"add", specializeAdd},
      {"ssm_skip", specializeSsmSkip},
      {"rotary_embedding", specializeRotaryEmbedding},
      {"quantize", specializeQuantize},
      {"gated_rms_norm", specializeGatedRMSNorm},
      {"linear", specializeMatmul},
      {"scaled_matmul", specializeMatmul},
      {"attention", specializeAttention},
      {"causal_conv1d", specializeConv},
      {"ssm_scan", specializeScan},
      {"ssm_scan_gated_norm", specializeScan},
      {"sample", specializeSample},
      {"moe_route", specializeMoeRoute},
      {"moe_experts", specializeMoeExperts},
      {"scaled_moe_experts", specializeMoeExperts},
  };
  if (auto it = functions.find(op); it != functions.end()) {
    return it->second(dispatch);
  }
  if (op == "relu2" || op == "silu") {
    return specializeActivation(dispatch, op, op == "relu2" ? "Relu2" : "Silu");
  }
  if (op.contains("_norm")) {
    return specializeNorm(dispatch, op);
  }
  return dispatch.emitOpError() << "names a kernel that target cuda does not have";
}

} // namespace nemotron::codegen
