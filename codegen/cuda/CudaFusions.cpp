//===- CudaFusions.cpp - dispatches that one kernel carries out ---------------------------------------------------===//
//
// What kernels for GPUs do beside their own work, as it saves a launch or a way through memory:
//
//   product, add_*_norm     the product adds the residual to its output, the norm reads the sum
//   op, quantize            the op stores codes, where their scale is known beforehand
//
// Results stay the same to the last bit.
//
//===----------------------------------------------------------------------===//
#include "codegen/cuda/CudaTarget.h"

#include "dialects/Plan/IR/Plan.h"
#include "mlir/IR/Builders.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringSet.h"

using namespace mlir;
using namespace nemotron::plan;

namespace nemotron::codegen {
namespace {

/// The parts of a dispatch, to make another of.
class Parts {
public:
  explicit Parts(DispatchOp dispatch)
      : kernel(dispatch.getKernel().str()), parameters(dispatch.getParameters()), dispatch(dispatch) {
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
                                           dispatch.getWeights(), dispatch.getStates(),
                                           parameters.getDictionary(builder.getContext()), dispatch.getLayerAttr());
    dispatch->erase();
    return made;
  }

  std::string kernel;
  Arguments inputs, outputs;
  NamedAttrList parameters;

private:
  static void append(Arguments &to, ArrayAttr names, ValueRange values) {
    for (auto [name, value] : llvm::zip_equal(names.getAsValueRange<StringAttr>(), values)) {
      to.emplace_back(name, value);
    }
  }
  DispatchOp dispatch;
};

bool isProduct(StringRef kernel) { return kernel == "cuda.linear" || kernel == "cuda.scaled_matmul"; }

/// The dispatch that writes `value` as its output called "output", if it is a whole buffer that `reader` alone reads,
/// once.
DispatchOp soleWriter(Value value, DispatchOp reader) {
  DispatchOp writer;
  if (!value.getDefiningOp<BufferOp>() || !llvm::hasNItems(value.getUses(), 2) || llvm::count(reader.getInputs(), value) != 1) {
    return {};
  }
  for (Operation *user : value.getUsers()) {
    if (auto dispatch = dyn_cast<DispatchOp>(user); dispatch && dispatch != reader) {
      writer = dispatch;
    }
  }
  return writer && Parts::find(Parts(writer).outputs, "output") == value ? writer : DispatchOp();
}

/// Buffers are declared before the first dispatch that uses them.
void declareBefore(Value buffer, Operation *op) {
  if (Operation *declaration = buffer.getDefiningOp(); op->isBeforeInBlock(declaration)) {
    declaration->moveBefore(op);
  }
}

/// Whether all that write `value`, or the buffer that it is a view of, come before `op`.
bool isWrittenBefore(Value value, Operation *op) {
  Value buffer = value;
  while (auto view = buffer.getDefiningOp<ViewOp>()) {
    buffer = view.getBuffer();
  }
  SmallVector<Value> values{buffer};
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
  StringRef kernel = norm.getKernel();
  if (!kernel.consume_front("cuda.add_") || !kernel.contains("_norm")) {
    return;
  }
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

  sums.kernel = "cuda." + kernel.str();
  Parts::erase(sums.inputs, "residual");
  Parts::erase(sums.inputs, "delta");
  Parts::erase(sums.outputs, "sum");
  sums.inputs.emplace_back("input", sum);
  sums.replaceDispatch();
  delta.getDefiningOp()->erase();
}

/// An op stores codes itself. A product can also take over the activation function of the quantize.
void fuseQuantize(DispatchOp quantize) {
  static const llvm::StringSet<> storeCodes = {"cuda.linear", "cuda.scaled_matmul"};
  Parts codes(quantize);
  auto parameter = [&](StringRef name) { return cast<StringAttr>(codes.parameters.get(name)).getValue(); };
  if (quantize.getKernel() != "cuda.quantize" || parameter("scaling") != "static") {
    return;
  }
  Value input = Parts::find(codes.inputs, "input"), output = Parts::find(codes.outputs, "output");
  Value scale = Parts::find(codes.outputs, "scale");
  DispatchOp writer = soleWriter(input, quantize);
  if (!writer || !storeCodes.contains(writer.getKernel()) || !output.getDefiningOp<BufferOp>() ||
      !scale.getDefiningOp<BufferOp>()) {
    return;
  }
  Parts stores(writer);
  if (StringRef activation = parameter("activation"); activation != "none") {
    auto own = dyn_cast_or_null<StringAttr>(stores.parameters.get("activation"));
    if (!own || own.getValue() != "none") {
      return;
    }
    stores.parameters.set("activation", codes.parameters.get("activation"));
  }
  declareBefore(output, writer);
  declareBefore(scale, writer);
  Parts::replace(stores.outputs, "output", output);
  stores.outputs.emplace_back("scale", scale);
  stores.parameters.set("output_scale", codes.parameters.get("scale"));
  quantize->erase();
  stores.replaceDispatch();
  input.getDefiningOp()->erase();
}

} // namespace

void CudaTarget::fuse(ProgramOp program) const {
  for (auto dispatch : llvm::make_early_inc_range(program.getBody().getOps<DispatchOp>())) {
    fuseQuantize(dispatch);
  }
  for (auto dispatch : llvm::make_early_inc_range(program.getBody().getOps<DispatchOp>())) {
    fuseResidual(dispatch);
  }
}

} // namespace nemotron::codegen
