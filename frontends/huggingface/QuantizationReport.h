//===- QuantizationReport.h - which scales a checkpoint has, layer by layer -----------------------------*- C++ -*-===//
#ifndef FRONTENDS_HUGGINGFACE_QUANTIZATION_REPORT_H
#define FRONTENDS_HUGGINGFACE_QUANTIZATION_REPORT_H

#include <optional>
#include <string>
#include <vector>

#include "frontends/huggingface/QuantizationConfig.h"
#include "runtime/base/dtype.h"

namespace nemotron::frontends {

/// What was found in a quantized checkpoint, and what was put in the place of what was not.
struct QuantizationReport {
  struct Matrix {
    std::string name;  ///< "in_proj", "experts.up_proj", "lm_head"
    int64_t count = 1; ///< matrices of that name: one for each expert
    runtime::DType dtype;
    // The rest counts if `dtype` is kF8E4M3.
    bool perChannel = false; ///< one weight_scale for each row
    ActivationScheme activations = ActivationScheme::None;
    /// The files call for static activations, but there is no input_scale: they are scaled token by token.
    bool lacksInputScale = false;
  };
  /// Of an attention layer.
  struct Cache {
    enum class Source { Checkpoint, Option, Default, Unused };
    Source source;    ///< Unused: the checkpoint has them, but the cache is not of 8-bit floats
    float key, value; ///< `k_scale`, `v_scale`
  };
  struct Layer {
    int64_t index;    ///< -1: the output head
    std::string kind; ///< "mamba", "attention", "mlp", "moe", "decoder", "head"
    std::vector<Matrix> matrices;
    std::optional<Cache> cache;
  };

  /// Empty if the checkpoint is not quantized and the KV cache is not of 8-bit floats.
  std::vector<Layer> layers;
  /// The matrices were given their values back (`ImportOptions::dequantize`).
  bool dequantized = false;

  /// One line a layer: "layer 3 mamba: in_proj e4m3 weight_scale tensor, input_scale static; out_proj bf16".
  std::string text() const;
};

} // namespace nemotron::frontends

#endif // FRONTENDS_HUGGINGFACE_QUANTIZATION_REPORT_H
