//===- ConfigLimits.h - ranges of sizes and the parsers of the two families -----------------------------*- C++ -*-===//
#ifndef FRONTENDS_HUGGINGFACE_CONFIG_LIMITS_H
#define FRONTENDS_HUGGINGFACE_CONFIG_LIMITS_H

#include "frontends/huggingface/Config.h"
#include "frontends/huggingface/ConfigReader.h"

namespace nemotron::frontends {

/// What a size may be: an order of magnitude or more above any published model, and so low that no product of those
/// that meet in one tensor leaves 64 bits.
namespace limits {
inline constexpr ConfigReader::Range kVocab{1, 1 << 24};
inline constexpr ConfigReader::Range kHidden{1, 1 << 20};
inline constexpr ConfigReader::Range kIntermediate{1, 1 << 22};
inline constexpr ConfigReader::Range kHeads{1, 1 << 16};
inline constexpr ConfigReader::Range kHeadDim{1, 1 << 14};
inline constexpr ConfigReader::Range kState{1, 1 << 14};
inline constexpr ConfigReader::Range kConvKernel{2, 64};
inline constexpr ConfigReader::Range kExperts{1, 1 << 16};
inline constexpr ConfigReader::Range kPositions{1, int64_t{1} << 40};
inline constexpr int64_t kMaxLayers = 4096;
inline constexpr int64_t kMaxExpertsInAll = 1 << 18;
inline constexpr int64_t kMaxWidth = 1 << 24; ///< of an activation: products such as heads times head dim
} // namespace limits

/// An error if `count`, the product that `what` says, is wider than an activation may be.
void checkWidth(ConfigReader &reader, llvm::StringRef field, llvm::StringRef what, int64_t count);
/// An error if `divisor` does not divide `count`. Either may be 0: then it was wrong already.
void checkDivides(ConfigReader &reader, llvm::StringRef divisorField, int64_t divisor, llvm::StringRef countField,
                  int64_t count);
/// Sizes and constraints of an attention layer; `headDim` is used if no name of `headDimNames` is there.
AttentionSizes readAttention(ConfigReader &reader, AttentionSizes defaults, ConfigReader::Names headDimNames);

/// Read what is special to a family; fields in common are read by the caller.
void readNemotronH(ConfigReader &reader, NemotronHConfig &config);
void readNemotron(ConfigReader &reader, NemotronConfig &config);

} // namespace nemotron::frontends

#endif // FRONTENDS_HUGGINGFACE_CONFIG_LIMITS_H
