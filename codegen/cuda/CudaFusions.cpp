//===- CudaFusions.cpp - dispatches that one kernel carries out ---------------------------------------------------===//
//
// What kernels for GPUs do beside their own work, as it saves a launch or a way through memory:
//
//   convolution, scan       the scan convolves what it reads
//   product, add_*_norm     the product adds the residual to its output, the norm reads the sum
//   product, quantize       the product stores codes, where their scale is known beforehand
//   op, quantize, product   the product quantizes its input as it reads it; the maxima of rows are gathered by what
//                           makes the rows, if that is a product or a scan
//
// Results stay the same to the last bit.
//
//===----------------------------------------------------------------------===//
#include "codegen/cuda/CudaTarget.h"

#include "codegen/cuda/CudaKernels.h"
#include "dialects/Plan/IR/Plan.h"
#include "mlir/IR/Builders.h"
#include "passes/PlanLiveness.h"
#include "llvm/ADT/STLExtras.h"

using namespace mlir;
using namespace nemotron::plan;

namespace nemotron::codegen {
namespace {

/// The parts of a dispatch, to make another of.
class Parts {
public:
  explicit Parts(DispatchOp dispatch)
      : kernel(dispatch.getKernel().str()), weights(dispatch.getWeights()), states(dispatch.getStates()),
        parameters(dispatch.getParameters()), dispatch(dispatch) {
    append(inputs, dispatch.getInputNames(), dispatch.getInputs());
    append(outputs, dispatch.getOutputNames(), dispatch.getOutputs());
  }

  using Arguments = SmallVector<std::pair<StringRef, Value>, 8>;
  static Value find(const Arguments &arguments, StringRef name) {
    const auto *it = llvm::find_if(arguments, [&](const auto &argument) { return argument.first == name; });
    return it == arguments.end() ? Value() : it->second;
  }
  static void erase(Arguments &arguments, StringRef name) {
    llvm::erase_if(arguments, [&](const auto &argument) { return argument.first == name; });
  }
  static void replace(Arguments &arguments, StringRef name, Value value) {
    for (auto &argument : arguments) {
      if (argument.first == name) {
        argument.second = value;
      }
    }
  }

  /// Puts a dispatch of these parts in the place of the one that they are of.
  DispatchOp replaceDispatch() {
    OpBuilder builder(dispatch);
    SmallVector<StringRef> inputNames(llvm::make_first_range(inputs)), outputNames(llvm::make_first_range(outputs));
    SmallVector<Value> inputValues(llvm::make_second_range(inputs)), outputValues(llvm::make_second_range(outputs));
    auto made = builder.create<DispatchOp>(dispatch.getLoc(), builder.getStringAttr(kernel), inputValues, outputValues,
                                           builder.getStrArrayAttr(inputNames), builder.getStrArrayAttr(outputNames),
                                           weights.getDictionary(builder.getContext()),
                                           states.getDictionary(builder.getContext()),
                                           parameters.getDictionary(builder.getContext()), dispatch.getLayerAttr());
    dispatch->erase();
    return made;
  }

  std::string kernel;
  Arguments inputs, outputs;
  NamedAttrList weights, states, parameters;

private:
  static void append(Arguments &to, ArrayAttr names, ValueRange values) {
    for (auto [name, value] : llvm::zip_equal(names.getAsValueRange<StringAttr>(), values)) {
      to.emplace_back(name, value);
    }
  }
  DispatchOp dispatch;
};

/// Elements of F32 that rows begin at a multiple of, where products quantize them: cp.async copies 16 bytes.
constexpr int64_t kRawAlignment = 4;

bool isProduct(StringRef kernel) { return kernel == "cuda.linear" || kernel == "cuda.scaled_matmul"; }

/// The dispatch that writes `value` as its output called "output", if it is a whole buffer that `reader` alone reads,
/// once.
DispatchOp soleWriter(Value value, DispatchOp reader) {
  DispatchOp writer;
  if (!value.getDefiningOp<BufferOp>() || !llvm::hasNItems(value.getUses(), 2) ||
      llvm::count(reader.getInputs(), value) != 1) {
    return {};
  }
  for (Operation *user : value.getUsers()) {
    if (auto dispatch = dyn_cast<DispatchOp>(user); dispatch && dispatch != reader) {
      writer = dispatch;
    }
  }
  return writer && Parts::find(Parts(writer).outputs, "output") == value ? writer : DispatchOp();
}

/// The product that reads `value`, which `writer` writes, if nobody else does.
DispatchOp soleReader(Value value, DispatchOp writer) {
  if (!value.getDefiningOp<BufferOp>() || !llvm::hasNItems(value.getUses(), 2)) {
    return {};
  }
  for (Operation *user : value.getUsers()) {
    if (auto dispatch = dyn_cast<DispatchOp>(user);
        dispatch && dispatch != writer && dispatch.getKernel() == "cuda.scaled_matmul") {
      return dispatch;
    }
  }
  return {};
}

/// Buffers are declared before the first dispatch that uses them.
void declareBefore(Value buffer, Operation *op) {
  if (Operation *declaration = buffer.getDefiningOp(); op->isBeforeInBlock(declaration)) {
    declaration->moveBefore(op);
  }
}

/// Whether all that write `value`, or the buffer that it is a view of, come before `op`.
bool isWrittenBefore(Value value, Operation *op) {
  SmallVector<Value> values{passes::resolveView(value).buffer.getResult()};
  for (size_t i = 0; i < values.size(); ++i) {
    for (Operation *user : values[i].getUsers()) {
      if (auto view = dyn_cast<ViewOp>(user)) {
        values.push_back(view.getResult());
      } else if (auto dispatch = dyn_cast<DispatchOp>(user)) {
        if (llvm::is_contained(dispatch.getOutputs(), values[i]) && !dispatch->isBeforeInBlock(op)) {
          return false;
        }
      }
    }
  }
  return true;
}

/// A product adds the residual of the norm behind it.
void fuseResidual(DispatchOp norm) {
  Parts sums(norm);
  Value delta = Parts::find(sums.inputs, "delta"), residual = Parts::find(sums.inputs, "residual");
  Value sum = Parts::find(sums.outputs, "sum");
  DispatchOp product = soleWriter(delta, norm);
  if (!product || !isProduct(product.getKernel()) || !sum.getDefiningOp<BufferOp>() ||
      !isWrittenBefore(residual, product)) {
    return;
  }
  declareBefore(sum, product);
  Parts adds(product);
  adds.inputs.emplace_back("residual", residual);
  Parts::replace(adds.outputs, "output", sum);
  adds.replaceDispatch();

  StringRef kernel = norm.getKernel();
  kernel.consume_front("cuda.add_");
  sums.kernel = "cuda." + kernel.str();
  Parts::erase(sums.inputs, "residual");
  Parts::erase(sums.inputs, "delta");
  Parts::erase(sums.outputs, "sum");
  sums.inputs.emplace_back("input", sum);
  sums.replaceDispatch();
  delta.getDefiningOp()->erase();
}

/// A scan convolves what it reads. x, b and c are columns of a convolution that nobody else reads.
void fuseConvolution(DispatchOp scan) {
  Parts scans(scan);
  Value convolved;
  SmallVector<std::pair<StringRef, int64_t>, 3> columns;
  for (StringRef name : {"x", "b", "c"}) {
    auto view = Parts::find(scans.inputs, name).getDefiningOp<ViewOp>();
    if (!view || !view->hasOneUse() || (convolved && view.getBuffer() != convolved)) {
      return;
    }
    convolved = view.getBuffer();
    columns.emplace_back(name, view.getColumn());
  }
  DispatchOp convolution;
  for (Operation *user : convolved.getUsers()) {
    if (auto dispatch = dyn_cast<DispatchOp>(user); dispatch && dispatch.getKernel() == "cuda.causal_conv1d") {
      convolution = dispatch;
    }
  }
  // Its uses are the three views and the convolution. Blocks of a group are counted in decode.
  if (!convolution || !convolved.getDefiningOp<BufferOp>() || !llvm::hasNItems(convolved.getUses(), 4) ||
      !Parts::find(scans.outputs, "counters")) {
    return;
  }
  Parts convolves(convolution);
  auto symbol = cast<FlatSymbolRefAttr>(convolves.weights.get("weight"));
  auto weight = SymbolTable::lookupNearestSymbolFrom<WeightOp>(convolution, symbol);
  if (!hasConvKernel(cast<RankedTensorType>(weight.getType()).getDimSize(0))) {
    return;
  }
  SmallVector<Operation *> views;
  for (auto [name, column] : columns) {
    views.push_back(Parts::find(scans.inputs, name).getDefiningOp());
    Parts::erase(scans.inputs, name);
    scans.parameters.set((name + "_column").str(), Builder(scan.getContext()).getI64IntegerAttr(column));
  }
  scans.inputs.emplace_back("conv_input", Parts::find(convolves.inputs, "input"));
  scans.weights.set("conv_weight", symbol);
  if (Attribute bias = convolves.weights.get("bias")) {
    scans.weights.set("conv_bias", bias);
  }
  scans.states.set("conv", convolves.states.get("conv"));
  scans.parameters.set("conv_activation", convolves.parameters.get("activation"));
  scans.replaceDispatch();
  convolution->erase();
  llvm::for_each(views, [](Operation *view) { view->erase(); });
  convolved.getDefiningOp()->erase();
}

/// The activation function of a quantize, taken over by the product that makes its input. False if there is no such.
bool moveActivation(const Parts &quantize, DispatchOp writer, Parts &writes) {
  Attribute activation = quantize.parameters.get("activation");
  auto own = dyn_cast_or_null<StringAttr>(writes.parameters.get("activation"));
  if (!writer || !isProduct(writer.getKernel()) || !own || own.getValue() != "none") {
    return cast<StringAttr>(activation).getValue() == "none";
  }
  writes.parameters.set("activation", activation);
  return true;
}

/// Codes are stored by the product that makes them, if their scale is known beforehand; else by the product that reads
/// them, as it reads.
void fuseQuantize(DispatchOp quantize) {
  Parts quantizes(quantize);
  Attribute scale = quantizes.parameters.get("scale"), scaling = quantizes.parameters.get("scaling");
  const bool isStatic = cast<StringAttr>(scaling).getValue() == "static";
  Value input = Parts::find(quantizes.inputs, "input"), codes = Parts::find(quantizes.outputs, "output");
  Value scales = Parts::find(quantizes.outputs, "scale");
  DispatchOp writer = soleWriter(input, quantize);

  if (isStatic && writer && isProduct(writer.getKernel())) {
    Parts writes(writer);
    if (!moveActivation(quantizes, writer, writes)) {
      return;
    }
    declareBefore(codes, writer);
    declareBefore(scales, writer);
    Parts::replace(writes.outputs, "output", codes);
    writes.outputs.emplace_back("scale", scales);
    writes.parameters.set("output_scale", scale);
    quantize->erase();
    writes.replaceDispatch();
    input.getDefiningOp()->erase();
    return;
  }

  DispatchOp reader = soleReader(codes, quantize);
  if (!reader || reader != soleReader(scales, quantize) || cast<StringAttr>(scaling).getValue() == "step" ||
      passes::resolveView(input).begin % kRawAlignment != 0) {
    return;
  }
  Parts reads(reader);
  Parts::replace(reads.inputs, "input", input);
  Parts::erase(reads.inputs, "input_scale");
  reads.parameters.set("scaling", scaling);
  reads.parameters.set("scale", scale);
  reads.parameters.set("input_activation", quantizes.parameters.get("activation"));
  const Space space = cast<BufferType>(input.getType()).getSpace();
  if (!isStatic && writer && space == Space::Token &&
      (isProduct(writer.getKernel()) || writer.getKernel() == "cuda.ssm_scan_gated_norm")) {
    Parts writes(writer);
    if (moveActivation(quantizes, writer, writes)) {
      reads.parameters.set("input_activation", StringAttr::get(quantize.getContext(), "none"));
      OpBuilder builder(writer);
      auto type = BufferType::get(builder.getContext(), space, 1, builder.getF32Type());
      Value maximum = builder.create<BufferOp>(
          quantize.getLoc(), type, builder.getStringAttr(input.getDefiningOp<BufferOp>().getName() + ".maximum"),
          /*offset=*/IntegerAttr(), /*zeroed=*/builder.getUnitAttr());
      writes.outputs.emplace_back("maximum", maximum);
      reads.inputs.emplace_back("input_maximum", maximum);
      writes.replaceDispatch();
    }
  }
  quantize->erase();
  reads.replaceDispatch();
  codes.getDefiningOp()->erase();
  scales.getDefiningOp()->erase();
}

} // namespace

void CudaTarget::fuse(ProgramOp program) const {
  // Products are replaced where they stand; what they are found by is not.
  SmallVector<DispatchOp> quantizes, norms, scans;
  for (auto dispatch : program.getBody().getOps<DispatchOp>()) {
    if (dispatch.getKernel() == "cuda.quantize") {
      quantizes.push_back(dispatch);
    } else if (dispatch.getKernel().starts_with("cuda.add_") && dispatch.getKernel().contains("_norm")) {
      norms.push_back(dispatch);
    } else if (dispatch.getKernel() == "cuda.ssm_scan_gated_norm") {
      scans.push_back(dispatch);
    }
  }
  llvm::for_each(scans, fuseConvolution);
  llvm::for_each(quantizes, fuseQuantize);
  llvm::for_each(norms, fuseResidual);
}

} // namespace nemotron::codegen
