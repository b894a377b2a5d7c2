//===- QuantizeConfig.h - how a row becomes codes ---------------------------------------------------------------*- C++
//-*-===//
#ifndef CODEGEN_CUDA_QUANTIZECONFIG_H
#define CODEGEN_CUDA_QUANTIZECONFIG_H

#include <algorithm>

#include "codegen/cuda/KernelText.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/MathExtras.h"

namespace nemotron::codegen {

/// The `Config` of Quantize and StoreRow (kernels/rows.cuh) for rows of F32 that a kernel of another kind makes codes
/// of.
struct QuantizeConfig {
  llvm::StringRef name;
  int64_t columns;
  int64_t inputStride, inputAlignment, outputStride; ///< elements
  mlir::Type codes;
  llvm::StringRef activation, scaling; ///< enumerators of Activation and Scaling, without the k

  int64_t vector() const {
    int64_t vector = 4;
    while (columns % vector != 0 || inputAlignment % vector != 0) {
      vector /= 2;
    }
    return vector;
  }

  int64_t threads() const {
    return std::clamp<int64_t>(llvm::alignTo(llvm::divideCeil(columns, vector() * 4), 32), 32, 1024);
  }

  /// The struct that a body takes.
  std::string declaration() const {
    return llvm::formatv("struct {0} {{\n  using Input = float;\n  using Output = {1};\n"
                         "  static constexpr int kColumns = {2}, kVector = {3}, kThreads = {4}, kInputStride = {5}, "
                         "kOutputStride = {6}, kScaleStride = 1;\n"
                         "  static constexpr Activation kActivation = Activation::k{7};\n"
                         "  static constexpr Scaling kScaling = Scaling::k{8};\n};",
                         name, KernelText::cppType(codes), columns, vector(), threads(), inputStride, outputStride,
                         activation, scaling)
        .str();
  }
};

} // namespace nemotron::codegen

#endif // CODEGEN_CUDA_QUANTIZECONFIG_H
