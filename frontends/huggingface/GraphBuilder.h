//===- GraphBuilder.h - builds @step op by op -----------------------------------------------------------*- C++ -*-===//
#ifndef FRONTENDS_HUGGINGFACE_GRAPH_BUILDER_H
#define FRONTENDS_HUGGINGFACE_GRAPH_BUILDER_H

#include <string>

#include "dialects/Nemotron/IR/Nemotron.h"
#include "frontends/huggingface/Import.h"
#include "frontends/huggingface/Manifest.h"
#include "frontends/huggingface/Quantization.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/BuiltinOps.h"

namespace nemotron::frontends {

/// Holds the module while a family's code walks its layers. All tensors have been checked before: a required tensor
/// exists with the shape that the config says. Each op gets the location `name` of what it computes and, inside a
/// layer, the attribute `nemotron.layer`.
///
/// Names are given twice: how the IR calls something ("in_proj", becomes `@layers.3.in_proj`) and how the checkpoint
/// does
/// ("mixer.in_proj", becomes "backbone.layers.3.mixer.in_proj.weight").
class GraphBuilder {
public:
  GraphBuilder(mlir::MLIRContext *context, const TensorSource &source, const Naming &naming, const CommonConfig &config,
               const Quantization &quantization, const ImportOptions &options);

  /// What follows belongs to layer `index`, until the next call.
  void enterLayer(int64_t index);
  void leaveLayers();

  /// Ends @step with the rows of `hidden` that the batch asks for, times the head. Uses `embedding` if there is no
  /// head.
  void finish(mlir::Value hidden, mlir::Value embedding);
  mlir::OwningOpRef<mlir::ModuleOp> takeModule() { return std::move(module); }

  mlir::Value tokens() const { return tokensArg; }
  mlir::Value batch() const { return batchArg; }

  bool hasTensor(llvm::StringRef tensor) const { return source.lookup(fullName(tensor)).has_value(); }

  /// A matrix or a stack of matrices, not quantized, in the type of the options.
  mlir::Value matrix(llvm::StringRef name, llvm::StringRef tensor);
  /// A weight of any rank in f32.
  mlir::Value weightF32(llvm::StringRef name, llvm::StringRef tensor);
  /// The same, or null if the checkpoint has no such tensor.
  mlir::Value optionalWeightF32(llvm::StringRef name, llvm::StringRef tensor);
  mlir::Value reshape(llvm::StringRef name, mlir::Value weight, llvm::ArrayRef<int64_t> shape);

  /// Declares `@layers.<i>.<name>`.
  mlir::FlatSymbolRefAttr state(llvm::StringRef name, ir::StateKind kind, llvm::ArrayRef<int64_t> shape,
                                mlir::Type type);
  bool bf16RopeFrequencies() const { return options.bf16RopeFrequencies; }
  mlir::Type kvCacheType() const { return elementType(quantization.kvCacheDtype); }
  mlir::Type ssmStateType() const { return elementType(options.ssmStateDtype); }
  /// The scales of keys and values of this layer's cache; null unless it is of 8-bit floats.
  std::pair<mlir::FloatAttr, mlir::FloatAttr> kvCacheScales();
  mlir::Type f32() { return builder.getF32Type(); }

  /// `x` times `<tensor>.weight`, plus `<tensor>.bias` if the checkpoint has it. Quantized as the checkpoint has it.
  mlir::Value linear(llvm::StringRef name, llvm::StringRef tensor, mlir::Value x);
  /// The chosen ones of `count` experts `<tensor>.<e>`, or of those stacked in `<tensor>.up_proj`, applied to `x`.
  mlir::Value experts(llvm::StringRef name, llvm::StringRef tensor, int64_t count, mlir::Value x, ir::MoeRouteOp route);
  mlir::Value add(llvm::StringRef name, mlir::Value a, mlir::Value b) { return create<ir::AddOp>(name, a, b); }
  mlir::Value relu2(llvm::StringRef name, mlir::Value x) { return create<ir::Relu2Op>(name, x); }
  mlir::ResultRange split(llvm::StringRef name, mlir::Value x, llvm::ArrayRef<int64_t> widths);

  /// tensor<?x`width`xf32>
  mlir::RankedTensorType activations(int64_t width) const {
    return mlir::RankedTensorType::get({mlir::ShapedType::kDynamic, width}, mlir::Float32Type::get(context));
  }
  static int64_t widthOf(mlir::Value x) { return llvm::cast<mlir::RankedTensorType>(x.getType()).getDimSize(1); }
  llvm::APFloat eps() const { return llvm::APFloat(static_cast<float>(config.normEps)); }

  /// Creates an op at the location of `name`.
  template <typename OpTy, typename... Args> OpTy create(llvm::StringRef name, Args &&...args) {
    auto op = builder.create<OpTy>(locationOf(name), std::forward<Args>(args)...);
    mark(op);
    return op;
  }

private:
  std::string symbolOf(llvm::StringRef name) const { return symbolPrefix + name.str(); }
  std::string fullName(llvm::StringRef tensor) const { return tensorPrefix + tensor.str(); }
  mlir::Location locationOf(llvm::StringRef name) const;
  mlir::Type elementType(runtime::DType dtype) const;
  void mark(mlir::Operation *op) const;

  // How a product is built, GraphProducts.cpp. `module` is a full name.
  /// A matrix, or a stack of them, and the scales if it stays quantized.
  struct Factor {
    mlir::Value weight;
    mlir::Value scale;      ///< null: `weight` is of the type of the options
    mlir::Value inputScale; ///< of experts that have static ones
  };
  mlir::Value product(llvm::StringRef name, const std::string &module, mlir::Value x, bool splitInput);
  mlir::Value scaledProduct(llvm::StringRef name, const Factor &factor, mlir::Value bias, mlir::Value x,
                            const QuantizedMatrix &matrix);
  Factor readFactor(llvm::StringRef name, const std::string &module);
  Factor readExperts(llvm::StringRef name, llvm::StringRef tensor, llvm::StringRef projection, int64_t count);
  mlir::Value readScale(llvm::StringRef name, const std::string &tensor);
  mlir::Value stack(llvm::StringRef name, mlir::ValueRange parts);
  mlir::Value dequantize(llvm::StringRef name, mlir::Value weight, mlir::Value scale);

  /// Declares the weight and reads it, in its type on disk. `tensor` is a full name.
  mlir::Value readWeight(llvm::StringRef name, const std::string &tensor);
  mlir::Value castTo(llvm::StringRef name, mlir::Value weight, mlir::Type type);

  mlir::MLIRContext *context;
  const TensorSource &source;
  const Naming &naming;
  const CommonConfig &config;
  const Quantization &quantization;
  const ImportOptions &options;
  mlir::OwningOpRef<mlir::ModuleOp> module;
  mlir::OpBuilder declarations; ///< where weights and states are declared, above @step
  mlir::OpBuilder builder;      ///< the end of @step
  mlir::Value tokensArg, batchArg;
  mlir::IntegerAttr layer; ///< null outside of layers
  std::string symbolPrefix, tensorPrefix;
};

/// Build the body of @step, from `builder.tokens()` to `builder.finish()`.
void buildNemotronH(GraphBuilder &builder, const NemotronHConfig &config);
void buildNemotron(GraphBuilder &builder, const NemotronConfig &config);

} // namespace nemotron::frontends

#endif // FRONTENDS_HUGGINGFACE_GRAPH_BUILDER_H
