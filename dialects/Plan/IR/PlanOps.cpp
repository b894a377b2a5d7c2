//===- PlanOps.cpp - verifiers and assembly of the plan dialect ---------------------------------------------------===//
#include "dialects/Plan/IR/Plan.h"

#include "llvm/ADT/SmallPtrSet.h"
#include "llvm/ADT/StringSet.h"

using namespace mlir;
using nemotron::ir::verifyStateType;

namespace nemotron::plan {

/// Offsets are multiples of a cache line, the unit that kernels may assume.
static constexpr int64_t kAlignment = 64;
/// Of what lies in a page: offsets count for each of its tokens, of which there is a multiple of 16.
static constexpr int64_t kPageAlignment = kAlignment / 16;
/// Of zeroed buffers, whose elements have as many bytes.
static constexpr int64_t kZeroedAlignment = 4;

static LogicalResult verifyOffset(Operation *op, std::optional<int64_t> offset, int64_t alignment = kAlignment) {
  if (offset && (*offset < 0 || *offset % alignment != 0)) {
    return op->emitOpError("has offset ") << *offset << ", expected a non-negative multiple of " << alignment;
  }
  return success();
}

//===----------------------------------------------------------------------===//
// Weights and states
//===----------------------------------------------------------------------===//

LogicalResult WeightOp::verify() {
  Block &block = getBody().front();
  if (block.getNumArguments() != 0) { // plan_weight_c1
    return emitOpError("has a region with ") << block.getNumArguments() << " arguments, expected none";
  }
  for (Operation &op : block.without_terminator()) {
    if (!op.hasTrait<ir::WeightTransform>()) { // plan_weight_c1
      InFlightDiagnostic diag = emitOpError("holds '") << op.getName() << "', expected weight transforms only";
      diag.attachNote(op.getLoc()) << "it is here";
      return diag;
    }
  }
  auto yield = dyn_cast<YieldOp>(block.back());
  if (!yield) { // plan_weight_c1
    return emitOpError("ends in '") << block.back().getName() << "', expected plan.yield";
  }
  if (yield.getValue().getType() != getType()) { // plan_weight_c1
    return emitOpError("yields ") << yield.getValue().getType() << ", expected " << getType();
  }
  return success();
}

LogicalResult PackOp::verify() {
  auto input = cast<RankedTensorType>(getInput().getType()), result = cast<RankedTensorType>(getResult().getType());
  auto layout = dyn_cast_or_null<LayoutAttr>(result.getEncoding());
  if (!layout || result.getShape() != input.getShape() || result.getElementType() != input.getElementType()) {
    return emitOpError("result is ") << result << ", expected " << input << " with a #plan.layout"; // pack_c1
  }
  if (input.getEncoding()) { // pack_c2
    return emitOpError("input has encoding ") << input.getEncoding() << ", expected none";
  }
  Type element = input.getElementType();
  bool isMatrix = input.getRank() == 2 || input.getRank() == 3;
  Layout kind = layout.getValue();
  if (kind != Layout::RowMajor && !(isMatrix && isElementOf(kind, element))) { // pack_c3
    return emitOpError("lays out ") << input << " in " << stringifyLayout(kind)
                                    << "s, expected matrices [N, K] or [E, N, K] of " << elementsOf(kind);
  }
  return success();
}

LogicalResult StateOp::verify() {
  const int64_t alignment = getKind() == ir::StateKind::KvCache ? kPageAlignment : kAlignment;
  if (failed(verifyOffset(*this, getOffset(), alignment))) { // plan_state_c1
    return failure();
  }
  return verifyStateType(getKind(), getType(), [&] { return emitOpError(); }); // plan_state_c2
}

//===----------------------------------------------------------------------===//
// Kernels
//===----------------------------------------------------------------------===//

LogicalResult KernelOp::verify() {
  if (getLaunches().empty()) { // kernel_c2
    return emitOpError("has no launches, expected at least one");
  }
  for (Attribute attribute : getLaunches()) {
    auto launch = dyn_cast<DictionaryAttr>(attribute);
    auto strings = [&](StringRef name) {
      auto array = launch.getAs<ArrayAttr>(name);
      return array && llvm::all_of(array, llvm::IsaPred<StringAttr>) ? array : ArrayAttr();
    };
    const bool isLaunch = launch && launch.getAs<StringAttr>("function") && strings("grid") &&
                          strings("grid").size() == 3 && launch.getAs<IntegerAttr>("block_threads") &&
                          launch.getAs<IntegerAttr>("shared_bytes") && strings("arguments");
    if (!isLaunch) { // kernel_c1
      return emitOpError("has launch ")
             << attribute << ", expected function, grid of three, block_threads, shared_bytes and arguments";
    }
  }
  return success();
}

//===----------------------------------------------------------------------===//
// The program and its buffers
//===----------------------------------------------------------------------===//

LogicalResult ProgramOp::verify() {
  Block &block = getBody().front();
  if (block.getNumArguments() != 0) { // program_c1
    return emitOpError("has a region with ") << block.getNumArguments() << " arguments, expected none";
  }
  for (Operation &op : block) {
    bool isLast = &op == &block.back();
    if (isLast ? !isa<ReturnOp>(op) : !isa<BufferOp, ViewOp, DispatchOp>(op)) { // program_c2
      InFlightDiagnostic diag = emitOpError(isLast ? "ends in '" : "holds '")
                                << op.getName() << "', expected "
                                << (isLast ? "plan.return" : "plan.buffer, plan.view or plan.dispatch");
      diag.attachNote(op.getLoc()) << "it is here";
      return diag;
    }
  }
  for (auto [space, bytes] : {std::pair("token", getTokenArenaBytes()), std::pair("row", getRowArenaBytes())}) {
    if (bytes && (static_cast<int64_t>(*bytes) < 0 || *bytes % kAlignment != 0)) { // program_c3
      return emitOpError(space) << "_arena_bytes is " << static_cast<int64_t>(*bytes)
                                << ", expected a non-negative multiple of " << kAlignment;
    }
  }
  if (std::optional<int64_t> bytes = getZeroedBytes();
      bytes && (*bytes <= 0 || *bytes % kZeroedAlignment != 0)) { // program_c3
    return emitOpError("zeroed_bytes is ") << *bytes << ", expected a positive multiple of " << kZeroedAlignment;
  }
  return success();
}

int64_t BufferOp::rowBytes() {
  BufferType type = getResult().getType();
  int64_t bytes = type.getColumns() * (type.getElementType().getIntOrFloatBitWidth() / 8);
  return getZeroed() ? bytes : llvm::alignTo(bytes, kAlignment);
}

LogicalResult BufferOp::verify() {
  BufferType type = getResult().getType();
  Type element = type.getElementType();
  if (getZeroed() && (type.getSpace() != Space::Token || !(element.isInteger(32) || element.isF32()))) { // buffer_c2
    return emitOpError("is ") << type << ", expected a zeroed buffer to be of space token and of i32 or f32";
  }
  return verifyOffset(*this, getOffset(), getZeroed() ? kZeroedAlignment : kAlignment); // buffer_c1
}

LogicalResult ViewOp::verify() {
  BufferType buffer = getBuffer().getType(), result = getResult().getType();
  int64_t column = getColumn();
  if (column < 0 || column > buffer.getColumns() - result.getColumns()) { // view_c1
    return emitOpError("takes ") << result.getColumns() << " columns from " << column << ", buffer has "
                                 << buffer.getColumns();
  }
  if (buffer.getSpace() != result.getSpace() || buffer.getElementType() != result.getElementType()) { // view_c2
    return emitOpError("result is ") << result << ", expected space and element type of " << buffer;
  }
  return success();
}

LogicalResult ReturnOp::verify() {
  BufferType type = getLogits().getType();
  if (type.getSpace() != Space::Row || !type.getElementType().isF32()) { // return_c1
    return emitOpError("returns ") << type << ", expected a row buffer of f32";
  }
  if (!getSamples()) {
    return success();
  }
  auto samples = cast<BufferType>(getSamples().getType());
  if (samples.getSpace() != Space::Row || !samples.getElementType().isInteger(32)) { // return_c2
    return emitOpError("returns samples in ") << samples << ", expected a row buffer of i32";
  }
  return success();
}

//===----------------------------------------------------------------------===//
// Dispatches: verifiers
//===----------------------------------------------------------------------===//

/// Columns [first, end) of a declared buffer.
struct Columns {
  Value buffer;
  int64_t first, end;

  bool overlap(const Columns &other) const { return buffer == other.buffer && first < other.end && other.first < end; }
};

/// What `value` covers, seen through views.
static Columns getColumns(Value value) {
  Columns columns{value, 0, cast<BufferType>(value.getType()).getColumns()};
  llvm::SmallPtrSet<Operation *, 4> seen; // dominance is checked later: there may be a cycle
  for (auto view = value.getDefiningOp<ViewOp>(); view && seen.insert(view).second;
       view = columns.buffer.getDefiningOp<ViewOp>()) {
    int64_t column = view.getColumn();
    if (column < 0 || column > view.getBuffer().getType().getColumns()) {
      break; // the view's own verifier says so
    }
    columns = {view.getBuffer(), columns.first + column, columns.end + column};
  }
  return columns;
}

LogicalResult DispatchOp::verify() {
  for (auto [what, names, values] : {std::tuple("inputs", getInputNames(), ValueRange(getInputs())),
                                     std::tuple("outputs", getOutputNames(), ValueRange(getOutputs()))}) {
    if (names.size() != values.size()) { // dispatch_c1
      return emitOpError("has ") << values.size() << " " << what << ", but " << names.size() << " names of them";
    }
  }
  llvm::StringSet<> seen;
  SmallVector<StringRef> names(getInputNames().getAsValueRange<StringAttr>());
  llvm::append_range(names, getOutputNames().getAsValueRange<StringAttr>());
  for (DictionaryAttr symbols : {getWeights(), getStates()}) {
    for (NamedAttribute symbol : symbols) {
      names.push_back(symbol.getName());
    }
  }
  for (StringRef name : names) {
    if (!seen.insert(name).second) { // dispatch_c1
      return emitOpError("has two arguments named '") << name << "'";
    }
  }
  for (NamedAttribute parameter : getParameters()) {
    Attribute value = parameter.getValue();
    auto number = dyn_cast<TypedAttr>(value);
    bool known = isa<BoolAttr>(value) || (isa<StringAttr>(value) && !cast<StringAttr>(value).getValue().empty()) ||
                 (isa<IntegerAttr>(value) && number.getType().isSignlessInteger(64)) ||
                 (isa<FloatAttr>(value) && (number.getType().isF32() || number.getType().isF64()));
    if (!known) { // dispatch_c3
      return emitOpError("has parameter ")
             << parameter.getName() << " = " << value << ", expected an i64, f32, f64, bool or non-empty string";
    }
  }
  if (getLayer() && !llvm::isUInt<31>(*getLayer())) { // dispatch_c4
    return emitOpError("has layer ") << static_cast<int64_t>(*getLayer()) << ", expected 0 to 2^31 - 1";
  }
  SmallVector<Columns> columns = llvm::map_to_vector(getOperands(), getColumns); // inputs, then outputs, as are `names`
  for (size_t output = getInputs().size(); output < columns.size(); ++output) {
    for (size_t other = 0; other < output; ++other) {
      if (columns[output].overlap(columns[other])) { // dispatch_c5
        return emitOpError("writes '") << names[output] << "' over '" << names[other] << "'";
      }
    }
  }
  return success();
}

/// Each value of `arguments` names a `SymbolOp`. `what` is the name of that op.
template <typename SymbolOp>
static LogicalResult verifySymbols(DispatchOp op, SymbolTableCollection &symbols, DictionaryAttr arguments) {
  for (NamedAttribute argument : arguments) {
    auto symbol = dyn_cast<FlatSymbolRefAttr>(argument.getValue());
    if (!symbol || !symbols.lookupNearestSymbolFrom<SymbolOp>(op, symbol)) {
      return op.emitOpError("argument ") << argument.getName() << " is " << argument.getValue() << ", which is not a "
                                         << SymbolOp::getOperationName();
    }
  }
  return success();
}

LogicalResult DispatchOp::verifySymbolUses(SymbolTableCollection &symbols) { // dispatch_c2
  return failure(failed(verifySymbols<WeightOp>(*this, symbols, getWeights())) ||
                 failed(verifySymbols<StateOp>(*this, symbols, getStates())));
}

//===----------------------------------------------------------------------===//
// Dispatches: assembly
//===----------------------------------------------------------------------===//

/// `keyword(name = %x : type, ...)`, or nothing.
static ParseResult parseBuffers(OpAsmParser &parser, OperationState &result, StringRef keyword, ArrayAttr &names,
                                int32_t &size) {
  SmallVector<Attribute> found;
  SmallVector<OpAsmParser::UnresolvedOperand> operands;
  SmallVector<Type> types;
  auto parseOne = [&]() -> ParseResult {
    std::string name;
    if (parser.parseKeywordOrString(&name) || parser.parseEqual() || parser.parseOperand(operands.emplace_back()) ||
        parser.parseColonType(types.emplace_back())) {
      return failure();
    }
    found.push_back(parser.getBuilder().getStringAttr(name));
    return success();
  };
  SMLoc loc = parser.getCurrentLocation();
  if (succeeded(parser.parseOptionalKeyword(keyword)) &&
      parser.parseCommaSeparatedList(OpAsmParser::Delimiter::Paren, parseOne)) {
    return failure();
  }
  names = parser.getBuilder().getArrayAttr(found);
  size = operands.size();
  return parser.resolveOperands(operands, types, loc, result.operands);
}

/// `keyword(name = @symbol, ...)`, or nothing.
static ParseResult parseSymbols(OpAsmParser &parser, StringRef keyword, DictionaryAttr &arguments) {
  NamedAttrList found;
  auto parseOne = [&]() -> ParseResult {
    SMLoc loc = parser.getCurrentLocation();
    std::string name;
    SymbolRefAttr symbol;
    if (parser.parseKeywordOrString(&name) || parser.parseEqual() || parser.parseAttribute(symbol)) {
      return failure();
    }
    if (found.get(name)) {
      return parser.emitError(loc, "has two arguments named '") << name << "'"; // dispatch_c1
    }
    found.append(name, symbol);
    return success();
  };
  if (succeeded(parser.parseOptionalKeyword(keyword)) &&
      parser.parseCommaSeparatedList(OpAsmParser::Delimiter::Paren, parseOne)) {
    return failure();
  }
  arguments = found.getDictionary(parser.getContext());
  return success();
}

ParseResult DispatchOp::parse(OpAsmParser &parser, OperationState &result) {
  auto &properties = result.getOrAddProperties<Properties>();
  int32_t numInputs = 0, numOutputs = 0;
  NamedAttrList parameters;
  if (parser.parseAttribute(properties.kernel) ||
      parseBuffers(parser, result, "ins", properties.input_names, numInputs) ||
      parseBuffers(parser, result, "outs", properties.output_names, numOutputs) ||
      parseSymbols(parser, "weights", properties.weights) || parseSymbols(parser, "states", properties.states) ||
      parser.parseOptionalAttrDict(parameters)) {
    return failure();
  }
  properties.parameters = parameters.getDictionary(parser.getContext());
  properties.operandSegmentSizes = {numInputs, numOutputs};
  if (succeeded(parser.parseOptionalKeyword("layer"))) {
    int64_t layer;
    if (parser.parseInteger(layer)) {
      return failure();
    }
    properties.layer = parser.getBuilder().getI64IntegerAttr(layer);
  }
  return parser.parseOptionalAttrDictWithKeyword(result.attributes);
}

static void printBuffers(OpAsmPrinter &printer, StringRef keyword, ArrayAttr names, ValueRange values) {
  if (values.empty()) {
    return;
  }
  printer << ' ' << keyword << '(';
  llvm::interleaveComma(llvm::zip(names.getAsValueRange<StringAttr>(), values), printer, [&](auto argument) {
    auto [name, value] = argument;
    printer.printKeywordOrString(name);
    printer << " = " << value << " : " << value.getType();
  });
  printer << ')';
}

static void printSymbols(OpAsmPrinter &printer, StringRef keyword, DictionaryAttr arguments) {
  if (arguments.empty()) {
    return;
  }
  printer << ' ' << keyword << '(';
  llvm::interleaveComma(arguments, printer, [&](NamedAttribute argument) {
    printer.printKeywordOrString(argument.getName());
    printer << " = " << argument.getValue();
  });
  printer << ')';
}

void DispatchOp::print(OpAsmPrinter &printer) {
  printer << ' ' << getKernelAttr();
  printBuffers(printer, "ins", getInputNames(), getInputs());
  printBuffers(printer, "outs", getOutputNames(), getOutputs());
  printSymbols(printer, "weights", getWeights());
  printSymbols(printer, "states", getStates());
  printer.printOptionalAttrDict(getParameters().getValue());
  if (getLayer()) {
    printer << " layer " << static_cast<int64_t>(*getLayer());
  }
  printer.printOptionalAttrDictWithKeyword((*this)->getDiscardableAttrDictionary().getValue());
}

} // namespace nemotron::plan

#define GET_OP_CLASSES
#include "dialects/Plan/IR/PlanOps.cpp.inc"
