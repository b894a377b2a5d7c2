//===- WeightBuilder.cpp - collects what is done to weights into plan.weights -------------------------------------===//
#include "dialects/Plan/IR/WeightBuilder.h"

#include "dialects/Plan/IR/WeightNumbers.h"

#include "mlir/IR/Builders.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/IR/TypeUtilities.h"
#include "llvm/ADT/SetVector.h"
#include "llvm/ADT/StringExtras.h"

using namespace mlir;

namespace nemotron::plan {

/// The loader of plans takes names of up to 256 characters; suffixes need some.
static constexpr size_t kMaxNameLength = 200;

std::string legalName(StringRef name) {
  std::string legal = name.take_front(kMaxNameLength).str();
  for (char &c : legal) {
    if (!llvm::isPrint(c) || c == ' ' || c == '\'' || c == '"' || c == '\\') {
      c = '_';
    }
  }
  return legal.empty() ? "unnamed" : legal;
}

WeightBuilder::WeightBuilder(ModuleOp module, Operation *step) : module(module), step(step) {
  renameSources();
  for (auto symbol : module.getOps<SymbolOpInterface>()) {
    names.insert(symbol.getName());
  }
  numberValues(step->getRegion(0).front());
}

/// One walk for all names: replacing symbol by symbol would walk the module once for each of ten thousands.
void WeightBuilder::renameSources() {
  llvm::StringSet<> taken;
  for (auto symbol : module.getOps<SymbolOpInterface>()) {
    taken.insert(symbol.getName());
  }
  llvm::DenseMap<Attribute, FlatSymbolRefAttr> renamed;
  for (auto decl : module.getOps<ir::WeightDeclOp>()) {
    std::string name = (decl.getSymName() + kSourceSuffix).str();
    while (!taken.insert(name).second) {
      name += kSourceSuffix;
    }
    renamed[decl.getSymNameAttr()] = FlatSymbolRefAttr::get(module.getContext(), name);
    decl.setSymName(name);
  }
  module.walk([&](ir::GetWeightOp op) {
    if (auto it = renamed.find(op.getWeightAttr().getAttr()); it != renamed.end()) {
      op.setWeightAttr(it->second);
    }
  });
}

void WeightBuilder::numberValues(Block &block) {
  WeightNumbers known;
  for (Operation &op : block) {
    if (!op.hasTrait<ir::WeightTransform>()) {
      continue;
    }
    if (llvm::all_of(op.getOperands(), [&](Value operand) { return numbers.contains(operand); })) {
      auto inputs = llvm::map_to_vector(op.getOperands(), [&](Value operand) { return numbers.lookup(operand); });
      numbers[op.getResult(0)] = known.numberOf(&op, inputs);
    }
  }
}

LogicalResult WeightBuilder::checkFormat(Operation *op, StringRef role, Value weight,
                                         const WeightFormat &format) const {
  auto type = dyn_cast<RankedTensorType>(weight.getType());
  if (!type || !numbers.contains(weight)) {
    return op->emitOpError() << "has a " << role
                             << " that is not made of nemotron.weights by weight transforms, expected one that is";
  }
  if (type.getEncoding()) {
    return op->emitOpError() << "has a " << role << " of " << type << ", expected no encoding";
  }
  if (format.transposed && type.getRank() != 2) {
    return op->emitOpError() << "has a " << role << " of " << type
                             << ", expected a matrix, which the kernel reads transposed";
  }
  Type element = format.elementType ? format.elementType : type.getElementType();
  if (!isElementOf(format.layout, element)) {
    return op->emitOpError() << "has a " << role << " of " << type << ", expected " << elementsOf(format.layout)
                             << " elements";
  }
  return success();
}

FailureOr<FlatSymbolRefAttr> WeightBuilder::get(Operation *op, StringRef role, Value weight, const WeightFormat &format,
                                                const WeightPart &partOf) {
  if (failed(checkFormat(op, role, weight, format))) {
    return failure();
  }
  Type element = format.elementType ? format.elementType : getElementTypeOrSelf(weight.getType());
  std::tuple key(numbers.lookup(weight), format.layout, element.getAsOpaquePointer(), format.transposed);
  FlatSymbolRefAttr &symbol = made[key];
  if (!symbol) {
    // Bands are panels of 16 rows, too: a matrix has one name for all targets.
    Layout layout = format.layout == Layout::Fragment ? Layout::Panel : format.layout;
    StringRef suffix = role == "bias" ? role : stringifyLayout(layout);
    std::string name = baseName(weight, role);
    if (numbers.contains(partOf.whole)) {
      name = baseName(partOf.whole, role) + "." + partOf.name.str();
    }
    symbol = FlatSymbolRefAttr::get(create(weight, format, uniqueName(std::move(name), suffix)));
  }
  return symbol;
}

//===----------------------------------------------------------------------===//
// Names
//===----------------------------------------------------------------------===//

/// Leading and trailing parts ("layers", "1", ...) that `a` and `b` share.
static std::pair<size_t, size_t> sharedParts(ArrayRef<StringRef> a, ArrayRef<StringRef> b) {
  size_t limit = std::min(a.size(), b.size()), front = 0, back = 0;
  while (front < limit && a[front] == b[front]) {
    ++front;
  }
  while (back < limit - front && a[a.size() - 1 - back] == b[b.size() - 1 - back]) {
    ++back;
  }
  return {front, back};
}

/// What the names have in common: "layers.1.experts.up_proj" of "layers.1.experts.0.up_proj" and its like; `role`
/// stands in for an end that differs.
static std::string commonName(ArrayRef<std::string> names, StringRef role) {
  SmallVector<StringRef> first;
  StringRef(names.front()).split(first, '.');
  size_t front = first.size(), back = first.size();
  for (const std::string &name : names.drop_front()) {
    SmallVector<StringRef> parts;
    StringRef(name).split(parts, '.');
    auto [f, b] = sharedParts(first, parts);
    front = std::min(front, f);
    back = std::min(back, b);
  }
  if (front == first.size()) {
    return names.front();
  }
  SmallVector<StringRef> common(ArrayRef(first).take_front(front));
  if (back == 0) {
    common.push_back(role);
  } else {
    llvm::append_range(common, ArrayRef(first).take_back(std::min(back, first.size() - front)));
  }
  return llvm::join(common, ".");
}

/// The name of the weight that `op` reads; empty if it reads none.
static StringRef sourceName(Operation *op, StringRef suffix) {
  auto get = dyn_cast<ir::GetWeightOp>(op);
  StringRef name = get ? get.getWeight() : "";
  name.consume_back(suffix);
  return name;
}

std::string WeightBuilder::baseName(Value weight, StringRef role) const {
  // Down to the op that joins weights, or to the only weight. What scales are applied to comes before the scales.
  Operation *op = weight.getDefiningOp();
  auto isJoin = [&] { return isa<ir::ConcatOp, ir::StackOp>(op) && op->getNumOperands() > 1; };
  while (!op->hasAttr("nemotron.name") && op->getNumOperands() > 0 && !isJoin()) {
    op = op->getOperand(0).getDefiningOp();
  }
  if (auto name = op->getAttrOfType<StringAttr>("nemotron.name")) {
    return name.str();
  }
  if (StringRef name = sourceName(op, kSourceSuffix); !name.empty()) {
    return name.str();
  }
  if (auto loc = dyn_cast<NameLoc>(op->getLoc())) {
    return loc.getName().str();
  }
  if (op->getNumOperands() == 0) {
    return role.str();
  }
  // Parts that are joined themselves count by their first weight.
  SmallVector<std::string> parts;
  for (Value operand : op->getOperands()) {
    Operation *part = operand.getDefiningOp();
    while (part->getNumOperands() > 0) {
      part = part->getOperand(0).getDefiningOp();
    }
    StringRef name = sourceName(part, kSourceSuffix);
    parts.push_back((name.empty() ? role : name).str());
  }
  return commonName(parts, role);
}

std::string WeightBuilder::uniqueName(std::string base, StringRef suffix) {
  std::string name = base = legalName(base);
  if (names.insert(name).second) {
    return name;
  }
  name = base = base + "." + suffix.str();
  for (unsigned i = 2; !names.insert(name).second; ++i) {
    name = base + "." + std::to_string(i);
  }
  return name;
}

//===----------------------------------------------------------------------===//
// Regions
//===----------------------------------------------------------------------===//

/// The ops that `weight` is computed by, in their order.
static SmallVector<Operation *> sliceOf(Value weight) {
  llvm::SetVector<Operation *> slice;
  slice.insert(weight.getDefiningOp());
  for (size_t i = 0; i < slice.size(); ++i) {
    for (Value operand : slice[i]->getOperands()) {
      slice.insert(operand.getDefiningOp());
    }
  }
  SmallVector<Operation *> ordered = slice.takeVector();
  llvm::sort(ordered, [](Operation *a, Operation *b) { return a->isBeforeInBlock(b); });
  return ordered;
}

WeightOp WeightBuilder::create(Value weight, const WeightFormat &format, StringRef name) {
  OpBuilder builder(step);
  Location loc = weight.getLoc();
  auto type = cast<RankedTensorType>(weight.getType());
  auto op = builder.create<WeightOp>(loc, name, type);
  builder.createBlock(&op.getBody());

  IRMapping mapping;
  for (Operation *transform : sliceOf(weight)) {
    builder.clone(*transform, mapping);
  }
  Value value = mapping.lookup(weight);
  if (format.elementType && format.elementType != type.getElementType()) {
    type = type.clone(format.elementType);
    value = builder.create<ir::CastOp>(loc, type, value);
  }
  if (format.transposed) {
    type = RankedTensorType::get({type.getDimSize(1), type.getDimSize(0)}, type.getElementType());
    value = builder.create<ir::TransposeOp>(loc, type, value);
  }
  if (format.layout != Layout::RowMajor) {
    type = RankedTensorType::get(type.getShape(), type.getElementType(),
                                 LayoutAttr::get(builder.getContext(), format.layout));
    value = builder.create<PackOp>(loc, type, value);
  }
  builder.create<YieldOp>(loc, value);
  op.setType(type);
  return op;
}

} // namespace nemotron::plan
