//===- Checkpoint.h - what a frontend hands over next to the IR ------------------------------------------*- C++ -*===//
#ifndef DIALECTS_NEMOTRON_CHECKPOINT_H
#define DIALECTS_NEMOTRON_CHECKPOINT_H

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/base/dtype.h"
#include "runtime/base/status.h"

namespace nemotron::ir {

/// Where the bytes of `nemotron.weight` come from. Implemented by frontends, used by the plan writer. Not thread-safe.
class WeightSource {
public:
  struct Tensor {
    runtime::DType dtype;
    std::vector<int64_t> shape;
  };

  virtual ~WeightSource() = default;

  /// Type and shape of the tensor named `source`; nothing if there is none.
  virtual std::optional<Tensor> lookup(std::string_view source) const = 0;

  /// Copies `bytes.size()` bytes from byte `offset` of the tensor's row-major data. The range lies within the tensor.
  /// Errors are those of the file (kDataLoss) and name it.
  virtual runtime::Status read(std::string_view source, int64_t offset, std::span<std::byte> bytes) = 0;

  /// The writer is done with this tensor: its memory may be given back.
  virtual void release(std::string_view source) {}
};

/// The facts of a checkpoint that the graph does not hold: they go into the plan as they are.
struct ModelInfo {
  std::string architecture; ///< e.g. "NemotronHForCausalLM"
  std::string name;         ///< folder of the checkpoint, without its path
  int64_t vocabSize = 0;
  int64_t hiddenSize = 0;
  std::string layersBlockType; ///< one letter a layer: M, *, -, E; D for a dense decoder layer
  int64_t maxPositionEmbeddings = 0;
  int64_t numParameters = 0;
  int32_t bosTokenId = -1, padTokenId = -1;
  std::vector<int32_t> eosTokenIds;
  std::string configJson; ///< config.json as found

  std::string tokenizerKind;           ///< "tokenizer.json", "sentencepiece", or empty: none
  std::string tokenizerData;           ///< the file's bytes
  bool addBos = false, addEos = false; ///< for sentencepiece
  std::string chatTemplate;            ///< as found, or empty

  bool doSample = false;
  double temperature = 1.0, topP = 1.0, minP = 0.0, repetitionPenalty = 1.0;
  int32_t topK = 0;
  std::string checkpointHash; ///< "xxh3:<16 hex digits>" over the headers and config
};

} // namespace nemotron::ir

#endif // DIALECTS_NEMOTRON_CHECKPOINT_H
