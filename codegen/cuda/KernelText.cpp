//===- KernelText.cpp - the text that specialises a kernel --------------------------------------------------------===//
#include "codegen/cuda/KernelText.h"

#include <cstdio>
#include <numeric>

#include "dialects/Plan/IR/Plan.h"
#include "mlir/IR/SymbolTable.h"
#include "passes/PlanLiveness.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/FormatVariadic.h"

using namespace mlir;
using namespace nemotron::plan;

namespace nemotron::codegen {

//===----------------------------------------------------------------------===//
// The dispatch
//===----------------------------------------------------------------------===//

/// The operand called `name`, or null.
static Value findOperand(DispatchOp dispatch, StringRef name) {
  for (auto [names, values] : {std::pair(dispatch.getInputNames(), ValueRange(dispatch.getInputs())),
                               std::pair(dispatch.getOutputNames(), ValueRange(dispatch.getOutputs()))}) {
    for (auto [operand, value] : llvm::zip_equal(names.getAsValueRange<StringAttr>(), values)) {
      if (operand == name) {
        return value;
      }
    }
  }
  return {};
}

BufferShape KernelText::shape(StringRef name) const {
  Value value = findOperand(dispatch, name);
  if (!value) {
    return {};
  }
  auto type = cast<BufferType>(value.getType());
  passes::BufferColumns columns = passes::resolveView(value);
  const int64_t bytes = type.getElementType().getIntOrFloatBitWidth() / 8;
  const int64_t lines = std::gcd<int64_t>(columns.begin * bytes, 64);
  return {type.getElementType(), type.getColumns(), columns.buffer.rowBytes() / bytes,
          columns.buffer.getZeroed() ? 1 : lines / bytes, type.getSpace() == Space::Row};
}

template <typename SymbolOp> static RankedTensorType symbolType(DispatchOp dispatch, Attribute symbol) {
  if (!symbol) {
    return {};
  }
  auto op = SymbolTable::lookupNearestSymbolFrom<SymbolOp>(dispatch, cast<FlatSymbolRefAttr>(symbol));
  return op ? cast<RankedTensorType>(op.getType()) : RankedTensorType();
}

RankedTensorType KernelText::weightType(StringRef name) const {
  return symbolType<WeightOp>(dispatch, dispatch.getWeights().get(name));
}

RankedTensorType KernelText::stateType(StringRef name) const {
  return symbolType<StateOp>(dispatch, dispatch.getStates().get(name));
}

int64_t KernelText::integer(StringRef parameter) const {
  return cast<IntegerAttr>(dispatch.getParameters().get(parameter)).getInt();
}
double KernelText::number(StringRef parameter) const {
  return cast<FloatAttr>(dispatch.getParameters().get(parameter)).getValueAsDouble();
}
bool KernelText::flag(StringRef parameter) const {
  return cast<BoolAttr>(dispatch.getParameters().get(parameter)).getValue();
}
StringRef KernelText::string(StringRef parameter) const {
  return cast<StringAttr>(dispatch.getParameters().get(parameter)).getValue();
}

//===----------------------------------------------------------------------===//
// The text
//===----------------------------------------------------------------------===//

StringRef KernelText::cppType(Type element) {
  return element.isF32()            ? "float"
         : element.isBF16()         ? "bf16"
         : element.isF16()          ? "e4m3_as_f16"
         : element.isFloat8E4M3FN() ? "e4m3"
                                    : "int";
}

KernelText &KernelText::member(const Twine &line) {
  members += ("  " + line + "\n").str();
  return *this;
}
KernelText &KernelText::declaration(const Twine &line) {
  declarations += (line + "\n").str();
  return *this;
}
KernelText &KernelText::constant(StringRef name, int64_t value) {
  return member("static constexpr int " + name + " = " + Twine(value) + ";");
}
std::string KernelText::floatLiteral(double value) {
  char text[64];
  std::snprintf(text, sizeof(text), "%af", static_cast<double>(static_cast<float>(value)));
  return text;
}
KernelText &KernelText::floatConstant(StringRef name, double value) {
  return member(llvm::formatv("static constexpr float {0} = {1};", name, floatLiteral(value)).str());
}
KernelText &KernelText::type(StringRef name, Type element) {
  return member("using " + name + " = " + cppType(element) + ";");
}
KernelText &KernelText::enumerator(StringRef name, StringRef type, StringRef value) {
  return member("static constexpr " + type + " " + name + " = " + type + "::k" + value + ";");
}

std::string KernelText::parameterType(StringRef source, StringRef name) const {
  if (source == "step") {
    return "const StepTables";
  }
  if (source == "scratch") {
    return "char*";
  }
  if (source == "input" || source == "output") {
    BufferShape found = shape(name);
    return found.element ? llvm::formatv("{0}{1}*", source == "input" ? "const " : "", cppType(found.element)).str()
                         : "";
  }
  if (source == "weight") {
    RankedTensorType type = weightType(name);
    return !type                ? ""
           : type.getEncoding() ? "const char*"
                                : llvm::formatv("const {0}*", cppType(type.getElementType())).str();
  }
  if (source == "state") {
    return stateType(name) ? "long long" : "";
  }
  Attribute parameter = dispatch.getParameters().get(name);
  return !parameter ? "" : isa<FloatAttr>(parameter) ? "float" : "long long";
}

KernelText &KernelText::launch(StringRef function, StringRef call, ArrayRef<std::string> grid, int64_t threads,
                               int64_t sharedBytes, ArrayRef<StringRef> arguments,
                               std::optional<int64_t> residentBlocks) {
  SmallVector<std::string> parameters, passed;
  SmallVector<StringRef> taken;
  for (StringRef argument : arguments) {
    auto [source, name] = argument.split(' ');
    std::string type = parameterType(source, name);
    // A parameter may be called like an argument, as the scale of a quantize is.
    std::string variable = name.empty() ? source.str() : name.str() + (source == "parameter" ? "_value" : "");
    if (type.empty()) {
      passed.push_back(source == "parameter" || source == "state" ? "0" : "nullptr");
      continue;
    }
    const bool isTables = source == "step";
    // A pointer to constants that no other argument aliases: the compiler may read it through the read-only path.
    const bool isConstant = source == "input" || source == "weight";
    parameters.push_back(
        (isTables ? "const __grid_constant__ StepTables " : type + (isConstant ? " __restrict__ " : " ")) + variable);
    passed.push_back(variable);
    taken.push_back(argument);
  }
  const std::string bounds = std::to_string(threads) + (residentBlocks ? ", " + std::to_string(*residentBlocks) : "");
  entries += llvm::formatv("\nextern \"C\" __global__ void __launch_bounds__({0}) {1}({2}) {{\n  {3}({4});\n}\n",
                           bounds, function, llvm::join(parameters, ", "), call, llvm::join(passed, ", "));
  Builder builder(dispatch.getContext());
  SmallVector<StringRef> sizes(grid.begin(), grid.end());
  sizes.resize(3, "1");
  launches.push_back(
      builder.getDictionaryAttr({builder.getNamedAttr("function", builder.getStringAttr(function)),
                                 builder.getNamedAttr("grid", builder.getStrArrayAttr(sizes)),
                                 builder.getNamedAttr("block_threads", builder.getI64IntegerAttr(threads)),
                                 builder.getNamedAttr("shared_bytes", builder.getI64IntegerAttr(sharedBytes)),
                                 builder.getNamedAttr("arguments", builder.getStrArrayAttr(taken))}));
  return *this;
}

KernelText &KernelText::scratch(const Twine &bytes) {
  scratchBytes = bytes.str();
  return *this;
}

KernelSpec KernelText::finish(const Twine &suffix) const {
  KernelSpec spec;
  spec.name = (dispatch.getKernel() + "." + suffix).str();
  spec.body = body;
  spec.config = declarations + "struct Config {\n" + members + "};\n" + entries;
  spec.launches = launches;
  spec.scratch = scratchBytes;
  return spec;
}

} // namespace nemotron::codegen
