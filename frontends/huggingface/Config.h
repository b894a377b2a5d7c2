//===- Config.h - config.json of a Nemotron checkpoint --------------------------------------------------*- C++ -*-===//
#ifndef FRONTENDS_HUGGINGFACE_CONFIG_H
#define FRONTENDS_HUGGINGFACE_CONFIG_H

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "frontends/huggingface/QuantizationConfig.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/Support/LLVM.h"
#include "llvm/ADT/StringRef.h"

namespace nemotron::frontends {

/// What both families have. Names follow the Hugging Face config; sizes are counts, checked to be sane and positive.
struct CommonConfig {
  std::string path;         ///< of config.json, for messages
  std::string text;         ///< config.json as found
  std::string architecture; ///< e.g. "NemotronHForCausalLM"
  int64_t vocabSize = 0, hiddenSize = 0;
  int64_t maxPositionEmbeddings = 4096; ///< a limit of quality, no numeric effect
  double normEps = 1e-5;
  bool attentionBias = false, mlpBias = false; ///< hints: a checkpoint's biases are those it has
  bool tieWordEmbeddings = false;              ///< a hint: a checkpoint's `lm_head.weight` counts
  int32_t bosTokenId = -1, padTokenId = -1;    ///< -1: none
  std::vector<int32_t> eosTokenIds;
  /// What config.json, and the hf_quant_config.json beside it, say about quantized matrices; empty: nothing.
  std::vector<QuantizationConfig> quantization;
  std::string hfQuantConfigText; ///< hf_quant_config.json as found, or empty
};

/// Mamba-2 mixer: H heads of P channels in G groups, state N a channel, convolution over W tokens.
struct MambaSizes {
  int64_t numHeads, headDim, nGroups, stateSize, convKernel;
  int64_t innerSize() const { return numHeads * headDim; }
  int64_t groupStateSize() const { return nGroups * stateSize; }
  int64_t convChannels() const { return innerSize() + 2 * groupStateSize(); }    ///< x, B, C
  int64_t inProjSize() const { return innerSize() + convChannels() + numHeads; } ///< z, x, B, C, dt
};

struct AttentionSizes {
  int64_t numHeads, numKvHeads, headDim;
  int64_t querySize() const { return numHeads * headDim; }
  int64_t keySize() const { return numKvHeads * headDim; }
};

struct MlpSizes {
  int64_t intermediateSize;
  /// The same by the other reading of a list `intermediate_size` (by layer instead of by MLP or the reverse), if that
  /// is possible too; the tensors then decide.
  std::optional<int64_t> otherIntermediateSize;
};

struct MoeSizes {
  int64_t nRoutedExperts, numExpertsPerTok;
  int64_t intermediateSize;       ///< of one expert
  int64_t latentSize;             ///< width that the experts read and write; 0: the hidden size, without projections
  int64_t sharedIntermediateSize; ///< of the shared expert; 0: none
  int64_t nGroup, topkGroup;
  bool normTopkProb;
  double routedScalingFactor;
};

/// One block of Nemotron-H: a norm, one mixer, the residual.
using HybridLayer = std::variant<MambaSizes, AttentionSizes, MlpSizes, MoeSizes>;

/// Nemotron-H, Nemotron Nano v2, Nemotron 3, Puzzle: `model_type: nemotron_h`, `nemotron_h_puzzle`.
struct NemotronHConfig : CommonConfig {
  std::vector<HybridLayer> layers;
  bool useBias = false;    ///< of in_proj and out_proj; a hint
  bool useConvBias = true; ///< a hint
  /// `time_step_limit`: bounds of softplus(dt + dt_bias).
  double dtMin = 0.0, dtMax = std::numeric_limits<double>::infinity();
};

/// Nemotron-3, Nemotron-4, Minitron, Nemotron-Mini: `model_type: nemotron`.
struct NemotronConfig : CommonConfig {
  int64_t numHiddenLayers = 0;
  int64_t intermediateSize = 0;
  AttentionSizes attention{};
  int64_t rotaryDim = 0; ///< int(head_dim * partial_rotary_factor); 0: no rotation
  double ropeTheta = 10000.0;
  double positionScale = 1.0; ///< 1 / factor of a linear `rope_scaling`
};

using ModelConfig = std::variant<NemotronHConfig, NemotronConfig>;

inline CommonConfig &common(ModelConfig &config) {
  return std::visit([](auto &c) -> CommonConfig & { return c; }, config);
}
inline const CommonConfig &common(const ModelConfig &config) {
  return std::visit([](const auto &c) -> const CommonConfig & { return c; }, config);
}

/// One letter a layer: M, *, -, E; D for a dense decoder layer.
std::string layersBlockType(const ModelConfig &config);

/// Reads `text`, the config.json at `path`. Every field that is wrong, or asks for something that is not supported and
/// would change the result, is emitted as an error at its line; fields that nobody knows as warnings.
mlir::FailureOr<ModelConfig> parseConfig(mlir::MLIRContext *context, llvm::StringRef path, llvm::StringRef text);

/// Reads the file at `path`.
mlir::FailureOr<ModelConfig> loadConfig(mlir::MLIRContext *context, llvm::StringRef path);

} // namespace nemotron::frontends

#endif // FRONTENDS_HUGGINGFACE_CONFIG_H
