//===- GraphBuilder.cpp - builds @step op by op -------------------------------------------------------------------===//
#include "frontends/huggingface/GraphBuilder.h"

#include "frontends/huggingface/Diagnostics.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"

using namespace mlir;
using namespace nemotron;
using namespace nemotron::frontends;

GraphBuilder::GraphBuilder(MLIRContext *context, const TensorSource &source, const Naming &naming,
                           const CommonConfig &config, const Quantization &quantization, const ImportOptions &options)
    : context(context), source(source), naming(naming), config(config), quantization(quantization), options(options),
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
  case runtime::DType::kF8E4M3:
    return Float8E4M3FNType::get(context);
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

std::pair<FloatAttr, FloatAttr> GraphBuilder::kvCacheScales() {
  const auto found = quantization.cacheScales.find(layer.getInt());
  if (found == quantization.cacheScales.end())
    return {};
  return {builder.getF32FloatAttr(found->second.key), builder.getF32FloatAttr(found->second.value)};
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
  Value logits;
  if (source.lookup(naming.head()))
    logits = product("lm_head", naming.wrapper + "lm_head", rows, /*splitInput=*/false);
  else
    logits = create<ir::LinearOp>("lm_head", activations(config.vocabSize), rows, embedding, /*bias=*/Value());
  create<func::ReturnOp>("step", logits);
}
