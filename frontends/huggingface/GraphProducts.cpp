//===- GraphProducts.cpp - matrix products, quantized and not -----------------------------------------------------===//
//
// A matrix of 8-bit floats keeps its values and its scales, which become weights of their own. Its input is quantized
// in an op of its own: products with the same input get equal ones, of which one stays.
//
//===--------------------------------------------------------------------------------------------------------------===//
#include "frontends/huggingface/GraphBuilder.h"

using namespace mlir;
using namespace nemotron;
using namespace nemotron::frontends;

static RankedTensorType typeOf(Value value) { return cast<RankedTensorType>(value.getType()); }

/// `weight_scale` of a module or `input_scale` of an expert, which come in several shapes: [1] or [N] in f32.
Value GraphBuilder::readScale(StringRef name, const std::string &tensor) {
  Value scale = castTo(name, readWeight(name, tensor), f32());
  return typeOf(scale).getRank() == 1 ? scale : reshape(name, scale, {typeOf(scale).getNumElements()});
}

Value GraphBuilder::stack(StringRef name, ValueRange parts) {
  SmallVector<int64_t> shape{static_cast<int64_t>(parts.size())};
  llvm::append_range(shape, typeOf(parts.front()).getShape());
  return create<ir::StackOp>(name, typeOf(parts.front()).clone(shape), parts);
}

Value GraphBuilder::dequantize(StringRef name, Value weight, Value scale) {
  Value values = create<ir::DequantizeOp>(name, typeOf(weight).clone(f32()), weight, scale);
  return castTo(name, values, elementType(options.dtype));
}

GraphBuilder::Factor GraphBuilder::readFactor(StringRef name, const std::string &module) {
  Value weight = readWeight(name, module + ".weight");
  if (!quantization.find(module))
    return {castTo(name, weight, elementType(options.dtype)), Value(), Value()};
  Value scale = readScale((name + ".weight_scale").str(), module + ".weight_scale");
  if (options.dequantize)
    return {dequantize(name, weight, scale), Value(), Value()};
  return {weight, scale, Value()};
}

Value GraphBuilder::scaledProduct(StringRef name, const Factor &factor, Value bias, Value x,
                                  const QuantizedMatrix &matrix) {
  Value inputScale;
  if (matrix.activations != ActivationScheme::None) {
    const bool isStatic = matrix.activations == ActivationScheme::Static;
    const Type rowScales = activations(1);
    auto quantized = create<ir::QuantizeOp>(name, typeOf(x).clone(elementType(runtime::DType::kF8E4M3)), rowScales, x,
                                            isStatic ? ir::Scaling::Static : ir::Scaling::Token,
                                            isStatic ? builder.getF32FloatAttr(matrix.inputScale) : FloatAttr(),
                                            ir::Activation::None);
    x = quantized.getResult();
    inputScale = quantized.getScale();
  }
  return create<ir::ScaledMatmulOp>(name, activations(typeOf(factor.weight).getDimSize(0)), x, inputScale,
                                    factor.weight, factor.scale, bias, ir::Activation::None);
}

Value GraphBuilder::product(StringRef name, const std::string &module, Value x, bool splitInput) {
  const Factor factor = readFactor(name, module);
  const std::string biasName = (name + ".bias").str();
  Value bias =
      source.lookup(module + ".bias") ? castTo(biasName, readWeight(biasName, module + ".bias"), f32()) : Value();
  if (factor.scale)
    return scaledProduct(name, factor, bias, x, *quantization.find(module));
  return create<ir::LinearOp>(name, activations(typeOf(factor.weight).getDimSize(0)), x, factor.weight, bias,
                              ir::Activation::None, splitInput);
}

Value GraphBuilder::linear(StringRef name, StringRef tensor, Value x) {
  return product(name, fullName(tensor), x, options.splitInputs.value_or(false));
}

GraphBuilder::Factor GraphBuilder::readExperts(StringRef name, StringRef tensor, StringRef projection, int64_t count) {
  const std::string prefix = fullName(tensor) + ".", dot = ".", fullProjection = (dot + projection).str();
  if (hasTensor((tensor + dot + projection).str()))
    return {matrix(name, (tensor + dot + projection).str()), Value(), Value()};
  SmallVector<Value> weights, scales, inputScales;
  const QuantizedMatrix *first = quantization.find(prefix + "0" + fullProjection);
  for (int64_t e = 0; e < count; ++e) {
    const std::string index = std::to_string(e), partName = name.str() + dot + index;
    const std::string module = prefix + index + fullProjection;
    weights.push_back(readWeight(partName, module + ".weight"));
    if (first)
      scales.push_back(readScale(partName + ".weight_scale", module + ".weight_scale"));
    if (first && first->activations == ActivationScheme::Static && !options.dequantize)
      inputScales.push_back(readScale(partName + ".input_scale", module + ".input_scale"));
  }
  // One cast of the stack where that is possible, else one for each part.
  if (!llvm::all_equal(llvm::map_range(weights, [](Value part) { return part.getType(); })))
    for (auto [i, part] : llvm::enumerate(weights))
      part = castTo(name.str() + dot + std::to_string(i), part, elementType(options.dtype));
  Value weight = stack(name, weights);
  if (!first)
    return {castTo(name, weight, elementType(options.dtype)), Value(), Value()};
  Value scale = stack((name + ".weight_scale").str(), scales);
  if (options.dequantize)
    return {dequantize(name, weight, scale), Value(), Value()};
  if (inputScales.empty())
    return {weight, scale, Value()};
  const std::string inputName = (name + ".input_scale").str();
  return {weight, scale, reshape(inputName, stack(inputName, inputScales), {count})};
}

Value GraphBuilder::experts(StringRef name, StringRef tensor, int64_t count, Value x, ir::MoeRouteOp route) {
  const Factor up = readExperts((name + ".up_proj").str(), tensor, "up_proj", count);
  const Factor down = readExperts((name + ".down_proj").str(), tensor, "down_proj", count);
  if (!up.scale)
    return create<ir::MoeExpertsOp>(name, x.getType(), x, route.getIndices(), route.getWeights(), up.weight,
                                    down.weight, options.splitInputs.value_or(false));
  const bool weightOnly =
      quantization.find(fullName((tensor + ".0.up_proj").str()))->activations == ActivationScheme::None;
  return create<ir::ScaledMoeExpertsOp>(name, x.getType(), x, route.getIndices(), route.getWeights(), up.weight,
                                        up.scale, down.weight, down.scale, up.inputScale, down.inputScale, weightOnly);
}
