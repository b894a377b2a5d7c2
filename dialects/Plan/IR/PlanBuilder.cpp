//===- PlanBuilder.cpp - builds the plan dialect from a step ------------------------------------------------------===//
#include "dialects/Plan/IR/PlanBuilder.h"

#include "llvm/ADT/STLExtras.h"

using namespace mlir;

namespace nemotron::plan {

//===----------------------------------------------------------------------===//
// DispatchSpec
//===----------------------------------------------------------------------===//

DispatchSpec &DispatchSpec::input(StringRef name, Value value) {
  inputs.push_back({name, value});
  return *this;
}

DispatchSpec &DispatchSpec::output(StringRef name, Value value) {
  outputs.push_back({name, value});
  return *this;
}

DispatchSpec &DispatchSpec::zeroed(StringRef name, int64_t columns, Type element) {
  zeroedOutputs.push_back({name, columns, element});
  return *this;
}

DispatchSpec &DispatchSpec::weight(StringRef name, Value value, WeightFormat format, WeightPart partOf) {
  if (value) {
    weights.push_back({name, value, format, partOf});
  }
  return *this;
}

DispatchSpec &DispatchSpec::state(StringRef name, FlatSymbolRefAttr state) {
  states.push_back({name, state});
  return *this;
}

DispatchSpec &DispatchSpec::ownState(StringRef name, FlatSymbolRefAttr of, ir::StateKind kind, RankedTensorType type) {
  ownStates.push_back({name, of, kind, type});
  return *this;
}

DispatchSpec &DispatchSpec::parameter(StringRef name, Attribute value) {
  if (value) {
    parameters.push_back({name, value});
  }
  return *this;
}

DispatchSpec &DispatchSpec::onTarget(StringRef target) {
  kernel = (target + "." + kernel).str();
  return *this;
}

DispatchSpec &DispatchSpec::layMatrices(Layout layout) {
  for (WeightArgument &weight : weights) {
    if (weight.format.layout == Layout::Panel) {
      weight.format.layout = isElementOf(layout, weight.format.elementType) ? layout : Layout::RowMajor;
    }
  }
  return *this;
}

DispatchSpec &DispatchSpec::selectsRows() {
  rows = true;
  return *this;
}

//===----------------------------------------------------------------------===//
// PlanBuilder
//===----------------------------------------------------------------------===//

/// States of the model become states of the plan; their names stay.
static void convertStates(ModuleOp module) {
  for (auto decl : llvm::make_early_inc_range(module.getOps<ir::StateDeclOp>())) {
    OpBuilder(decl).create<StateOp>(decl.getLoc(), decl.getSymNameAttr(), decl.getKindAttr(), decl.getTypeAttr(),
                                    /*offset=*/IntegerAttr());
    decl.erase();
  }
}

PlanBuilder::PlanBuilder(ModuleOp module, Operation *step, StringRef name)
    : module(module), builder(step), weights(module, step) {
  convertStates(module);
  builder.setInsertionPointAfter(step);
  program = builder.create<ProgramOp>(step->getLoc(), builder.getStringAttr(name), IntegerAttr(), IntegerAttr(),
                                      /*zeroed_bytes=*/IntegerAttr());
  builder.createBlock(&program.getBody());
}

const PlanBuilder::Place *PlanBuilder::placeOf(Value value) const {
  auto it = places.find(value);
  return it == places.end() ? nullptr : &it->second;
}

FailureOr<Space> PlanBuilder::spaceOf(Operation *op, const DispatchSpec &spec) const {
  std::optional<Space> space;
  for (const DispatchSpec::Argument &input : spec.inputs) {
    const Place *place = placeOf(input.value);
    if (!place) {
      return op->emitOpError() << "has an " << input.name << " that no op of the step computes, expected one that is";
    }
    Space found = cast<BufferType>(place->buffer.getType()).getSpace();
    if (space && *space != found) {
      return op->emitOpError() << "reads selected rows and rows of all tokens, expected one of them";
    }
    space = found;
  }
  bool needsBatch = llvm::any_of(op->getOperandTypes(), llvm::IsaPred<ir::BatchType>);
  if (needsBatch && space == Space::Row) {
    return op->emitOpError() << "reads selected rows, expected rows of all tokens";
  }
  return space.value_or(Space::Token);
}

std::string PlanBuilder::uniqueBufferName(Operation *op, StringRef output, bool isOnlyOutput) {
  std::string base = op->getName().stripDialect().str();
  if (auto loc = dyn_cast<NameLoc>(op->getLoc())) {
    base = legalName(loc.getName());
  } else if (auto layer = op->getAttrOfType<IntegerAttr>("nemotron.layer")) {
    base = "layers." + std::to_string(layer.getInt()) + "." + base;
  }
  if (!isOnlyOutput) {
    base += ("." + output).str();
  }
  std::string name = base;
  for (unsigned i = 2; !bufferNames.insert(name).second; ++i) {
    name = base + "." + std::to_string(i);
  }
  return name;
}

FlatSymbolRefAttr PlanBuilder::makeState(Operation *op, const DispatchSpec::OwnState &state) {
  auto name = builder.getStringAttr(state.of.getValue() + "." + state.name);
  if (!SymbolTable::lookupSymbolIn(module, name)) {
    OpBuilder::InsertionGuard guard(builder);
    builder.setInsertionPointAfter(SymbolTable::lookupSymbolIn(module, state.of.getAttr()));
    builder.create<StateOp>(op->getLoc(), name, ir::StateKindAttr::get(builder.getContext(), state.kind),
                            TypeAttr::get(state.type), /*offset=*/IntegerAttr());
  }
  return FlatSymbolRefAttr::get(name);
}

FailureOr<Value> PlanBuilder::makeBuffer(Operation *op, StringRef output, bool isOnlyOutput, Space space,
                                         int64_t columns, Type element, bool zeroed) {
  auto type = BufferType::getChecked([&] { return op->emitOpError(); }, builder.getContext(), space, columns, element);
  if (!type) {
    return failure();
  }
  auto name = builder.getStringAttr(uniqueBufferName(op, output, isOnlyOutput));
  return builder
      .create<BufferOp>(op->getLoc(), type, name, /*offset=*/IntegerAttr(), zeroed ? builder.getUnitAttr() : UnitAttr())
      .getResult();
}

LogicalResult PlanBuilder::dispatch(Operation *op, const DispatchSpec &spec) {
  FailureOr<Space> space = spaceOf(op, spec);
  if (failed(space)) {
    return failure();
  }
  NamedAttrList weightSymbols, states, parameters;
  for (const DispatchSpec::WeightArgument &weight : spec.weights) {
    FailureOr<FlatSymbolRefAttr> symbol = weights.get(op, weight.name, weight.value, weight.format, weight.partOf);
    if (failed(symbol)) {
      return failure();
    }
    weightSymbols.append(weight.name, *symbol);
  }
  for (auto [name, state] : spec.states) {
    states.append(name, state);
  }
  for (const DispatchSpec::OwnState &state : spec.ownStates) {
    states.append(state.name, makeState(op, state));
  }
  for (auto [name, value] : spec.parameters) {
    parameters.append(name, value);
  }

  SmallVector<Value> inputs, outputs;
  SmallVector<StringRef> inputNames, outputNames;
  for (const DispatchSpec::Argument &input : spec.inputs) {
    inputs.push_back(placeOf(input.value)->view);
    inputNames.push_back(input.name);
  }
  for (const DispatchSpec::Argument &output : spec.outputs) {
    auto tensor = cast<RankedTensorType>(output.value.getType());
    FailureOr<Value> buffer = makeBuffer(op, output.name, spec.outputs.size() == 1, spec.rows ? Space::Row : *space,
                                         tensor.getDimSize(1), tensor.getElementType(), /*zeroed=*/false);
    if (failed(buffer)) {
      return failure();
    }
    places[output.value] = {*buffer, 0, *buffer};
    outputs.push_back(*buffer);
    outputNames.push_back(output.name);
  }
  for (const DispatchSpec::ZeroedArgument &zeroed : spec.zeroedOutputs) {
    FailureOr<Value> buffer = makeBuffer(op, zeroed.name, /*isOnlyOutput=*/false, Space::Token, zeroed.columns,
                                         zeroed.element, /*zeroed=*/true);
    if (failed(buffer)) {
      return failure();
    }
    outputs.push_back(*buffer);
    outputNames.push_back(zeroed.name);
  }
  IntegerAttr layer;
  if (auto attr = op->getAttrOfType<IntegerAttr>("nemotron.layer")) {
    layer = builder.getI64IntegerAttr(attr.getInt());
  }
  MLIRContext *context = builder.getContext();
  builder.create<DispatchOp>(op->getLoc(), builder.getStringAttr(spec.kernel), inputs, outputs,
                             builder.getStrArrayAttr(inputNames), builder.getStrArrayAttr(outputNames),
                             weightSymbols.getDictionary(context), states.getDictionary(context),
                             parameters.getDictionary(context), layer);
  return success();
}

LogicalResult PlanBuilder::split(Operation *op, Value input, ValueRange results) {
  const Place *found = placeOf(input);
  if (!found) {
    return op->emitOpError() << "has an input that no op of the step computes, expected one that is";
  }
  Place place = *found;
  auto type = cast<BufferType>(place.buffer.getType());
  for (Value result : results) {
    int64_t columns = cast<RankedTensorType>(result.getType()).getDimSize(1);
    auto viewType = BufferType::getChecked([&] { return op->emitOpError(); }, builder.getContext(), type.getSpace(),
                                           columns, type.getElementType());
    if (!viewType) {
      return failure();
    }
    Value view = place.buffer;
    if (viewType != type) {
      view = builder.create<ViewOp>(op->getLoc(), viewType, place.buffer, place.column);
    }
    places[result] = {place.buffer, place.column, view};
    place.column += columns;
  }
  return success();
}

Value PlanBuilder::sample(Operation *op, Value logits, const SamplerSpec &sampler) {
  auto type = BufferType::get(builder.getContext(), Space::Row, sampler.columns, builder.getI32Type());
  Value rows = builder.create<BufferOp>(op->getLoc(), type, builder.getStringAttr("samples"), /*offset=*/IntegerAttr());
  DictionaryAttr none = builder.getDictionaryAttr({});
  builder.create<DispatchOp>(op->getLoc(), builder.getStringAttr(sampler.kernel), logits, rows,
                             builder.getStrArrayAttr({"logits"}), builder.getStrArrayAttr({"rows"}), none, none, none,
                             /*layer=*/IntegerAttr());
  return rows;
}

LogicalResult PlanBuilder::finish(Operation *op, Value logits, const SamplerSpec &sampler) {
  const Place *place = placeOf(logits);
  if (!place) {
    return op->emitOpError() << "returns a value that no op of the step computes, expected logits";
  }
  auto type = cast<BufferType>(place->buffer.getType());
  if (type.getSpace() != Space::Row || !type.getElementType().isF32() || place->view != place->buffer) {
    return op->emitOpError() << "returns "
                             << (place->view != place->buffer    ? "a part of a value"
                                 : type.getSpace() != Space::Row ? "rows of all tokens"
                                                                 : "values that are not f32")
                             << ", expected logits computed in f32 from selected rows";
  }
  Value samples = sampler.kernel.empty() ? Value() : sample(op, place->buffer, sampler);
  builder.create<ReturnOp>(op->getLoc(), place->buffer, samples);
  return success();
}

} // namespace nemotron::plan
