//===- Quantization.h - the matrices of 8-bit floats of a checkpoint, and their scales ------------------*- C++ -*-===//
#ifndef FRONTENDS_HUGGINGFACE_QUANTIZATION_H
#define FRONTENDS_HUGGINGFACE_QUANTIZATION_H

#include <map>
#include <optional>
#include <string>

#include "frontends/huggingface/Checkpoint.h"
#include "frontends/huggingface/Config.h"
#include "frontends/huggingface/Import.h"
#include "frontends/huggingface/Manifest.h"
#include "frontends/huggingface/QuantizationReport.h"

namespace nemotron::frontends {

/// A module m with `m.weight` of f8e4m3 and `m.weight_scale`.
struct QuantizedMatrix {
  bool perChannel; ///< `weight_scale` has an element for each row, else one
  ActivationScheme activations;
  float inputScale = 0; ///< `m.input_scale` in f32, if activations are static
  /// The files call for static activations, but there is no input_scale: activations are dynamic.
  bool lacksInputScale = false;
};

/// All of a checkpoint's quantization, checked: every scale is positive and finite, the experts of a layer agree.
struct Quantization {
  struct CacheScales {
    float key, value;
  };
  std::map<std::string, QuantizedMatrix, std::less<>> matrices; ///< by module: "backbone.layers.3.mixer.in_proj"
  runtime::DType kvCacheDtype = runtime::DType::kBF16;
  std::map<int64_t, CacheScales> cacheScales; ///< of each attention layer, if `kvCacheDtype` is kF8E4M3
  QuantizationReport report;

  /// Null if `module` is not quantized.
  const QuantizedMatrix *find(llvm::StringRef module) const {
    auto found = matrices.find(std::string_view(module));
    return found == matrices.end() ? nullptr : &found->second;
  }
};

/// Reads the scales of `source`. A matrix is quantized exactly if its tensor is of f8e4m3; what `config.quantization`
/// says otherwise is an error or a remark. Errors are emitted at file and tensor.
mlir::FailureOr<Quantization> readQuantization(mlir::MLIRContext *context, TensorSource &source, const Naming &naming,
                                               const ModelConfig &config, const ImportOptions &options);

} // namespace nemotron::frontends

#endif // FRONTENDS_HUGGINGFACE_QUANTIZATION_H
