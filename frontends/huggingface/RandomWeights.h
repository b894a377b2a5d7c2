//===- RandomWeights.h - a checkpoint of any shape without files ----------------------------------------*- C++ -*-===//
#ifndef FRONTENDS_HUGGINGFACE_RANDOM_WEIGHTS_H
#define FRONTENDS_HUGGINGFACE_RANDOM_WEIGHTS_H

#include <cstdint>
#include <memory>

#include "frontends/huggingface/Checkpoint.h"
#include "frontends/huggingface/Config.h"
#include "llvm/ADT/StringRef.h"

namespace nemotron::frontends {

/// The tensors that `config` asks for, with random values that make a well-behaved model: matrices, embedding and
/// convolution are BF16, normal with standard deviation 1/sqrt(in); biases have 0.02; `A_log`, `D`, `dt_bias` are F32,
/// spread as in Mamba-2's initialisation (A in [1, 16], time steps log-uniform in [1e-3, 0.1]); norms are the identity,
/// correction biases zero.
///
/// An element is a function of `seed`, the tensor's name and the element's index alone, so any range of any tensor is
/// made on demand, at memory speed, and is the same on each machine and in each order.
std::unique_ptr<TensorSource> makeRandomWeights(const ModelConfig &config, uint64_t seed = 0);

/// Writes `config` and its random weights to `folder` as a checkpoint: config.json, and `model.safetensors` or, if the
/// data is larger than `shardBytes`, shards of at most that size (or of one tensor) with an index. Memory stays below a
/// few MiB.
runtime::Status writeRandomCheckpoint(const ModelConfig &config, llvm::StringRef folder, int64_t shardBytes,
                                      uint64_t seed = 0);

} // namespace nemotron::frontends

#endif // FRONTENDS_HUGGINGFACE_RANDOM_WEIGHTS_H
