//===- Quantize.cpp - matrix products of codes of 8 bits, as a recipe says ----------------------------------------===//
#include "mlir/IR/PatternMatch.h"
#include "mlir/IR/TypeUtilities.h"
#include "passes/FusionUtils.h"
#include "passes/Passes.h"
#include "passes/Recipe.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;

namespace nemotron::passes {

#define GEN_PASS_DEF_QUANTIZEPASS
#include "passes/Passes.h.inc"

namespace {

int64_t layerOf(Operation *op) {
  auto layer = op->getAttrOfType<IntegerAttr>(kLayer);
  return layer ? layer.getInt() : -1;
}

/// "in_proj" for the location "layers.3.in_proj"; the op's name without a location that is a name.
std::string nameOf(Operation *op) {
  auto loc = dyn_cast<NameLoc>(op->getLoc());
  StringRef name = loc ? loc.getName().getValue() : op->getName().stripDialect();
  std::string prefix = "layers." + std::to_string(layerOf(op)) + ".";
  name.consume_front(prefix);
  return name.str();
}

/// What the layers are, told by the ops that only one kind has. A layer without such an op is an MLP, and so is a
/// layer of a dense decoder besides its attention.
ModelFacts describeLayers(func::FuncOp step) {
  ModelFacts model;
  auto at = [&](Operation *op) -> std::set<LayerKind> & {
    if (static_cast<int64_t>(model.size()) <= layerOf(op)) {
      model.resize(layerOf(op) + 1);
    }
    return model[layerOf(op)];
  };
  step.walk([&](Operation *op) {
    if (layerOf(op) < 0) {
      return;
    }
    std::set<LayerKind> &kinds = at(op);
    llvm::TypeSwitch<Operation *>(op)
        .Case<ir::SsmScanOp, ir::SsmScanGatedNormOp>([&](auto) { kinds.insert(LayerKind::Mamba); })
        .Case<ir::AttentionOp>([&](auto) { kinds.insert(LayerKind::Attention); })
        .Case<ir::MoeRouteOp>([&](auto) { kinds.insert(LayerKind::Moe); });
  });
  step.walk([&](Operation *op) {
    auto linear = dyn_cast<ir::LinearOp>(op);
    bool isRelu2 = isa<ir::Relu2Op>(op) || (linear && linear.getActivation() == ir::Activation::Relu2);
    if (isRelu2 && layerOf(op) >= 0 && !at(op).count(LayerKind::Moe)) {
      at(op).insert(LayerKind::Mlp);
    }
  });
  return model;
}

/// `weight` before it was rounded to the type of the plan's matrices.
Value asStored(Value weight) {
  while (auto cast = weight.getDefiningOp<ir::CastOp>()) {
    weight = cast.getInput();
  }
  return weight;
}

/// Rewrites the products of one module.
class Quantizer {
public:
  explicit Quantizer(func::FuncOp step) : builder(step.getContext()) {}

  /// An error at the op, if it needs a static scale that it does not have.
  LogicalResult quantize(ir::LinearOp op, const MatrixFormat &format) {
    builder.setInsertionPoint(op);
    if (failed(checkGroups(op, op.getWeight(), format))) {
      return failure();
    }
    Scaled weight = quantizeWeight(op, op.getWeight(), format);
    Value input = op.getInput(), inputScale;
    if (format.quantizesActivations) {
      FailureOr<FloatAttr> staticScale = findStaticScale(op, kInputScale, format);
      if (failed(staticScale)) {
        return failure();
      }
      auto quantized = create<ir::QuantizeOp>(op, codesOf(input, format), rowScales(), input,
                                              scalingOf(*staticScale, format), *staticScale, ir::Activation::None);
      input = quantized.getResult();
      inputScale = quantized.getScale();
    }
    auto product = builder.create<ir::ScaledMatmulOp>(op.getLoc(), op.getType(), input, inputScale, weight.values,
                                                      weight.scale, op.getBias(), op.getActivationAttr());
    return replace(op, product);
  }

  LogicalResult quantize(ir::MoeExpertsOp op, const MatrixFormat &format) {
    builder.setInsertionPoint(op);
    if (failed(checkGroups(op, op.getUp(), format)) || failed(checkGroups(op, op.getDown(), format))) {
      return failure();
    }
    Scaled up = quantizeWeight(op, op.getUp(), format), down = quantizeWeight(op, op.getDown(), format);
    Value upInput, downInput;
    if (format.quantizesActivations) {
      if (format.perStep) {
        return op.emitOpError() << "quantizes rows of one expert, a scale for all tokens of a step is not supported";
      }
      FailureOr<FloatAttr> input = findStaticScale(op, kInputScale, format);
      FailureOr<FloatAttr> hidden = findStaticScale(op, kHiddenScale, format);
      if (failed(input) || failed(hidden)) {
        return failure();
      }
      upInput = fillExperts(op, *input);
      downInput = fillExperts(op, *hidden);
    }
    auto experts = builder.create<ir::ScaledMoeExpertsOp>(
        op.getLoc(), op.getType(), op.getInput(), op.getIndices(), op.getWeights(), up.values, up.scale, down.values,
        down.scale, upInput, downInput, /*weight_only=*/!format.quantizesActivations);
    return replace(op, experts);
  }

private:
  struct Scaled {
    Value values, scale;
  };

  /// An op at the place of `op` and of its layer.
  template <typename OpTy, typename... Args> OpTy create(Operation *op, Args &&...args) {
    auto created = builder.create<OpTy>(op->getLoc(), std::forward<Args>(args)...);
    inheritLayer(created, {op});
    return created;
  }

  LogicalResult replace(Operation *op, Operation *by) {
    inheritLayer(by, {op});
    op->replaceAllUsesWith(by);
    op->erase();
    return success();
  }

  /// The type of `value` with codes as its elements.
  Type codesOf(Value value, const MatrixFormat &format) {
    Type element = format.codes == runtime::DType::kI8 ? Type(builder.getI8Type()) : builder.getFloat8E4M3FNType();
    return cast<RankedTensorType>(value.getType()).clone(element);
  }
  Type rowScales() { return RankedTensorType::get({ShapedType::kDynamic, 1}, builder.getF32Type()); }

  /// Whole groups make up the inputs of `weight`.
  LogicalResult checkGroups(Operation *op, Value weight, const MatrixFormat &format) {
    const int64_t inputs = cast<RankedTensorType>(weight.getType()).getShape().back();
    if (format.groupSize == 0 || inputs % format.groupSize == 0) {
      return success();
    }
    return op->emitOpError() << "'" << nameOf(op) << "' of layer " << layerOf(op) << " has " << inputs
                             << " inputs, not a multiple of the group_size, " << format.groupSize;
  }

  Scaled quantizeWeight(Operation *op, Value weight, const MatrixFormat &format) {
    weight = asStored(weight);
    auto type = cast<RankedTensorType>(weight.getType());
    SmallVector<int64_t> shape(type.getShape().drop_back());
    if (format.groupSize > 0) {
      shape.push_back(type.getShape().back() / format.groupSize);
    } else if (!format.perChannel) {
      shape.back() = 1;
    }
    Value scale = create<ir::AbsmaxScaleOp>(op, RankedTensorType::get(shape, builder.getF32Type()), weight,
                                            builder.getF32FloatAttr(runtime::CodeMax(format.codes)));
    Value values = create<ir::QuantizeWeightOp>(op, codesOf(weight, format), weight, scale);
    return {values, scale};
  }

  /// The number that a calibration left at the op, if the format may use it; null: the scale is current.
  FailureOr<FloatAttr> findStaticScale(Operation *op, StringRef attribute, const MatrixFormat &format) {
    auto found = op->getAttrOfType<FloatAttr>(attribute);
    if (format.scale == MatrixFormat::Scale::Current) {
      return FloatAttr();
    }
    if (!found && format.scale == MatrixFormat::Scale::Static) {
      return op->emitOpError() << "'" << nameOf(op) << "' of layer " << layerOf(op)
                               << " is to have a static scale, but no calibration gave one (--calibrate)";
    }
    return found ? builder.getF32FloatAttr(found.getValue().convertToFloat()) : FloatAttr();
  }

  static ir::Scaling scalingOf(FloatAttr staticScale, const MatrixFormat &format) {
    return staticScale ? ir::Scaling::Static : format.perStep ? ir::Scaling::Step : ir::Scaling::Token;
  }

  Value fillExperts(ir::MoeExpertsOp op, FloatAttr scale) {
    if (!scale) {
      return Value();
    }
    auto type = RankedTensorType::get({op.getUp().getType().getDimSize(0)}, builder.getF32Type());
    return create<ir::FillOp>(op, type, scale);
  }

  OpBuilder builder;
};

struct QuantizePass : public impl::QuantizePassBase<QuantizePass> {
  using Base::Base;

  void runOnOperation() override {
    numProducts = numCaches = 0;
    if (failed(loadRecipe())) {
      return signalPassFailure();
    }
    for (auto function : getOperation().getOps<func::FuncOp>()) {
      if (failed(quantizeProducts(function)) || failed(quantizeCaches(function))) {
        return signalPassFailure();
      }
    }
    if (numProducts == 0 && numCaches == 0) {
      getOperation().emitError() << "the recipe '" << recipe << "' quantizes nothing in this model";
      return signalPassFailure();
    }
    getOperation().walk([](Operation *op) { // of products that stayed as they were
      for (StringRef name : {kInputScale, kHiddenScale, kKeyScale, kValueScale}) {
        op->removeDiscardableAttr(name);
      }
    });
  }

private:
  LogicalResult loadRecipe() {
    if (!kvCache.empty() && kvCache != "e4m3") {
      return getOperation().emitError() << "kv-cache is '" << kvCache << "', expected e4m3";
    }
    if (!(kvScale >= 0) || std::isinf(kvScale)) {
      return getOperation().emitError() << "kv-scale is " << kvScale << ", expected a positive, finite number";
    }
    if (recipe.empty() && !kvCache.empty()) {
      return success();
    }
    runtime::StatusOr<Recipe> found = Recipe::load(recipe);
    if (!found.ok()) {
      return getOperation().emitError() << found.status().message();
    }
    loaded = std::move(*found);
    return success();
  }

  LogicalResult quantizeProducts(func::FuncOp step) {
    if (!loaded) {
      return success();
    }
    SmallVector<Operation *> products;
    std::vector<MatrixFacts> facts;
    step.walk([&](Operation *op) {
      if (isa<ir::LinearOp, ir::MoeExpertsOp>(op)) {
        products.push_back(op);
        facts.push_back({layerOf(op), nameOf(op)});
      }
    });
    const ModelFacts model = describeLayers(step);
    if (runtime::Status matched = loaded->check(model, facts); !matched.ok()) {
      return step.emitError() << matched.message();
    }
    Quantizer quantizer(step);
    for (auto [op, matrix] : llvm::zip_equal(products, facts)) {
      std::optional<MatrixFormat> format = loaded->formatOf(model, matrix);
      numKept += !format;
      numProducts += format.has_value();
      if (format && failed(llvm::TypeSwitch<Operation *, LogicalResult>(op).Case<ir::LinearOp, ir::MoeExpertsOp>(
                        [&](auto product) { return quantizer.quantize(product, *format); }))) {
        return failure();
      }
    }
    numQuantized += numProducts;
    return success();
  }

  LogicalResult quantizeCaches(func::FuncOp step) {
    if (kvCache.empty() && !(loaded && loaded->quantizesCache())) {
      return success();
    }
    SymbolTable symbols(getOperation());
    WalkResult result = step.walk([&](ir::AttentionOp op) {
      auto state = symbols.lookup<ir::StateDeclOp>(op.getState());
      auto type = cast<RankedTensorType>(state.getType());
      if (type.getElementType().isFloat8E4M3FN()) {
        return WalkResult::advance(); // by the checkpoint
      }
      FailureOr<FloatAttr> key = cacheScale(op, kKeyScale, "keys"), value = cacheScale(op, kValueScale, "values");
      if (failed(key) || failed(value)) {
        return WalkResult::interrupt();
      }
      op.setKeyScaleAttr(*key);
      op.setValueScaleAttr(*value);
      state.setType(type.clone(Float8E4M3FNType::get(&getContext())));
      ++numCaches;
      return WalkResult::advance();
    });
    return failure(result.wasInterrupted());
  }

  FailureOr<FloatAttr> cacheScale(ir::AttentionOp op, StringRef attribute, StringRef what) {
    Builder builder(&getContext());
    if (auto found = op->getAttrOfType<FloatAttr>(attribute)) {
      op->removeAttr(attribute);
      return builder.getF32FloatAttr(found.getValue().convertToFloat());
    }
    if (kvScale > 0) {
      return builder.getF32FloatAttr(kvScale);
    }
    return op.emitOpError() << "of layer " << layerOf(op) << " needs a scale for the " << what
                            << " of its FP8 cache: calibrate (--calibrate TEXT), or give one (--kv-scale)";
  }

  std::optional<Recipe> loaded;
  int64_t numProducts = 0, numCaches = 0;
};

} // namespace
} // namespace nemotron::passes
