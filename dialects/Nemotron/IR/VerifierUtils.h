//===- VerifierUtils.h - what the verifiers of several families share ------------------------------------*- C++ -*===//
#ifndef DIALECTS_NEMOTRON_IR_VERIFIERUTILS_H
#define DIALECTS_NEMOTRON_IR_VERIFIERUTILS_H

#include "dialects/Nemotron/IR/Nemotron.h"

namespace nemotron::ir {

using Tensor = mlir::TypedValue<mlir::RankedTensorType>;

inline int64_t dim(Tensor tensor, unsigned index) { return tensor.getType().getDimSize(index); }

/// Columns of activations [T, D].
inline int64_t width(Tensor activations) { return dim(activations, 1); }

/// Whether `value` is `a * b`, for positive `a` and `b` of any size.
inline bool isProduct(int64_t value, int64_t a, int64_t b) { return value % a == 0 && value / a == b; }

/// A vector that scales or shifts channels has one element for each.
llvm::LogicalResult verifyChannels(mlir::Operation *op, Tensor activations, Tensor vector, llvm::StringRef name);

/// A scale is positive and finite.
llvm::LogicalResult verifyScale(mlir::Operation *op, llvm::StringRef name, const llvm::APFloat &scale);

/// The only activations that go with a product are none and relu2.
llvm::LogicalResult verifyProductActivation(mlir::Operation *op, Activation activation);

/// C1 to C3 of `linear` and `scaled_matmul`: what input, weight, bias (may be null) and result have in common.
llvm::LogicalResult verifyProduct(mlir::Operation *op, Tensor input, Tensor weight, Tensor bias, Tensor result);

/// The operands and the result that `moe_experts` and `scaled_moe_experts` both have.
struct Experts {
  Tensor input, indices, weights, up, down, result;
};

/// C1 to C3 of `moe_experts` and `scaled_moe_experts`: what these have in common.
llvm::LogicalResult verifyExperts(mlir::Operation *op, const Experts &experts);

/// `state` names a `nemotron.state` of this kind and shape. The error goes to `op`.
llvm::LogicalResult verifyStateUse(mlir::Operation *op, mlir::SymbolTableCollection &symbols,
                                   mlir::FlatSymbolRefAttr state, StateKind kind, llvm::ArrayRef<int64_t> shape);

} // namespace nemotron::ir

#endif // DIALECTS_NEMOTRON_IR_VERIFIERUTILS_H
