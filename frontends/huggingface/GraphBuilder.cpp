//===- GraphBuilder.cpp - builds @step op by op -------------------------------------------------------------------===//
#include "frontends/huggingface/GraphBuilder.h"

#include "frontends/huggingface/Diagnostics.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"

using namespace mlir;
using namespace nemotron;
using namespace nemotron::frontends;

GraphBuilder::GraphBuilder(MLIRContext *context, const TensorSource &source, const Naming &naming,
                           const CommonConfig &config, const ImportOptions &options)
    : context(context), source(source), naming(naming), config(config), options(options),
      module(ModuleOp::create(fileLocation(context, config.path))), declarations(context), builder(context) {
  builder.setInsertionPointToEnd(module->getBody());
  const Type tokensType = RankedTensorType::get({ShapedType::kDynamic}, builder.getI32Type());
  const Type batchType = ir::BatchType::get(context);
  auto type = builder.getFunctionType({tokensType, batchType}, {activations(config.vocabSize)});
  auto step = builder.create<func::FuncOp>(locationOf("step"), "step", type);
  declarations.setInsertionPoint(step);
  Block *body = step.addEntryBlock();
  tokensArg = body->getArgument(0);
  batchArg = body->getArgument(1);
  builder.setInsertionPointToEnd(body);
  leaveLayers();
}

void GraphBuilder::enterLayer(int64_t index) {
  layer = builder.getI64IntegerAttr(index);
  symbolPrefix = "layers." + std::to_string(index) + ".";
  tensorPrefix = naming.inLayer(index, "");
}

void GraphBuilder::leaveLayers() {
  layer = nullptr;
  symbolPrefix.clear();
  tensorPrefix = naming.inBody("");
}

Location GraphBuilder::locationOf(StringRef name) const {
  return NameLoc::get(StringAttr::get(context, symbolOf(name)));
}

void GraphBuilder::mark(Operation *op) const {
  if (layer)
    op->setDiscardableAttr("nemotron.layer", layer);
}

Type GraphBuilder::elementType(runtime::DType dtype) const {
  switch (dtype) {
  case runtime::DType::kBF16:
    return BFloat16Type::get(context);
  case runtime::DType::kF16:
    return Float16Type::get(context);
  default: // the check of the tensors lets nothing else through
    return Float32Type::get(context);
  }
}

Value GraphBuilder::readWeight(StringRef name, const std::string &tensor) {
  const ir::WeightSource::Tensor found = *source.lookup(tensor);
  const auto type = RankedTensorType::get(found.shape, elementType(found.dtype));
  const std::string symbol = symbolOf(name);
  auto declaration = declarations.create<ir::WeightDeclOp>(locationOf(name), symbol, type, tensor);
  mark(declaration);
  return create<ir::GetWeightOp>(name, type, symbol);
}

Value GraphBuilder::castTo(StringRef name, Value weight, Type type) {
  const auto from = cast<RankedTensorType>(weight.getType());
  if (from.getElementType() == type)
    return weight;
  return create<ir::CastOp>(name, RankedTensorType::get(from.getShape(), type), weight);
}

Value GraphBuilder::matrix(StringRef name, StringRef tensor) {
  return castTo(name, readWeight(name, fullName(tensor)), elementType(options.dtype));
}

Value GraphBuilder::stackedMatrices(StringRef name, StringRef tensor, StringRef suffix, int64_t count) {
  SmallVector<Value> parts;
  const std::string dot = ".";
  for (int64_t i = 0; i < count; ++i) {
    const std::string index = std::to_string(i);
    const std::string partName = name.str() + dot + index;
    parts.push_back(readWeight(partName, fullName(tensor.str() + dot + index + dot + suffix.str())));
  }
  // One cast of the stack where that is possible, else one for each part.
  if (!llvm::all_equal(llvm::map_range(parts, [](Value part) { return part.getType(); })))
    for (auto [i, part] : llvm::enumerate(parts))
      part = castTo(name.str() + dot + std::to_string(i), part, elementType(options.dtype));
  const auto partType = cast<RankedTensorType>(parts.front().getType());
  SmallVector<int64_t> shape{count};
  llvm::append_range(shape, partType.getShape());
  Value stack = create<ir::StackOp>(name, partType.clone(shape), parts);
  return castTo(name, stack, elementType(options.dtype));
}

Value GraphBuilder::weightF32(StringRef name, StringRef tensor) {
  return castTo(name, readWeight(name, fullName(tensor)), f32());
}

Value GraphBuilder::optionalWeightF32(StringRef name, StringRef tensor) {
  return hasTensor(tensor) ? weightF32(name, tensor) : Value();
}

Value GraphBuilder::reshape(StringRef name, Value weight, ArrayRef<int64_t> shape) {
  return create<ir::ReshapeOp>(name, cast<RankedTensorType>(weight.getType()).clone(shape), weight);
}

FlatSymbolRefAttr GraphBuilder::state(StringRef name, ir::StateKind kind, ArrayRef<int64_t> shape, Type type) {
  const std::string symbol = symbolOf(name);
  auto declaration =
      declarations.create<ir::StateDeclOp>(locationOf(name), symbol, kind, RankedTensorType::get(shape, type));
  mark(declaration);
  return FlatSymbolRefAttr::get(context, symbol);
}

Value GraphBuilder::linear(StringRef name, StringRef tensor, Value x) {
  Value weight = matrix(name, (tensor + ".weight").str());
  Value bias = optionalWeightF32((name + ".bias").str(), (tensor + ".bias").str());
  const int64_t width = cast<RankedTensorType>(weight.getType()).getDimSize(0);
  return create<ir::LinearOp>(name, activations(width), x, weight, bias, ir::Activation::None, splitInputs());
}

ResultRange GraphBuilder::split(StringRef name, Value x, ArrayRef<int64_t> widths) {
  SmallVector<Type> types;
  for (int64_t width : widths)
    types.push_back(activations(width));
  return create<ir::SplitOp>(name, types, x).getResults();
}

void GraphBuilder::finish(Value hidden, Value embedding) {
  leaveLayers();
  Value rows = create<ir::SelectRowsOp>("select_rows", hidden.getType(), hidden, batchArg);
  Value head = embedding;
  if (source.lookup(naming.head()))
    head = castTo("lm_head", readWeight("lm_head", naming.head()), elementType(options.dtype));
  Value logits = create<ir::LinearOp>("lm_head", activations(config.vocabSize), rows, head, /*bias=*/Value());
  create<func::ReturnOp>("step", logits);
}
