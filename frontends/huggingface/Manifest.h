//===- Manifest.h - the tensors that a config asks for --------------------------------------------------*- C++ -*-===//
#ifndef FRONTENDS_HUGGINGFACE_MANIFEST_H
#define FRONTENDS_HUGGINGFACE_MANIFEST_H

#include <string>
#include <vector>

#include "frontends/huggingface/Config.h"
#include "llvm/ADT/STLFunctionalExtras.h"
#include "llvm/ADT/SmallVector.h"
#include "llvm/ADT/Twine.h"

namespace nemotron::frontends {

/// How the tensors of a checkpoint are called: `<wrapper><body>layers.3…`, `<wrapper>lm_head.weight`.
struct Naming {
  std::string wrapper; ///< "" or, in multimodal checkpoints, "language_model."
  std::string body;    ///< "backbone." or "model."; "" in files of a bare model without head

  std::string inBody(const llvm::Twine &name) const { return (llvm::Twine(wrapper) + body + name).str(); }
  std::string head() const { return wrapper + "lm_head.weight"; }
  /// Of a layer: "layers.3.mixer.in_proj.weight" without the prefixes.
  std::string inLayer(int64_t layer, const llvm::Twine &name) const {
    return inBody("layers." + llvm::Twine(layer) + "." + name);
  }
};

/// What a tensor is for; decides the values and the type that random weights have.
enum class TensorRole {
  Embedding,
  Matrix,
  Router,
  Conv,
  Bias,
  Norm,
  OffsetNorm,
  ALog,
  SkipD,
  DtBias,
  CorrectionBias,
  /// Of 8-bit floats: `weight_scale` and `input_scale` beside a matrix, `k_scale` and `v_scale` of an attention layer.
  /// Shape and values are checked in Quantization.cpp.
  Scale,
};

struct TensorSpec {
  std::string name;
  llvm::SmallVector<int64_t, 3> shape;
  TensorRole role;
  /// The model cannot be built without it. Others (biases, the head) count if the checkpoint has them.
  bool required;
  /// The config's flags ask for it: a checkpoint made from the config alone has it. True if required.
  bool expected;
  int64_t layer; ///< -1: of none

  int64_t numElements() const;
};

/// The usual naming of a family: "backbone." for Nemotron-H, "model." for the dense models and for Puzzle.
Naming defaultNaming(const ModelConfig &config);

/// All tensors of `config`, layer by layer, a matrix before its scales. `exists` says what the checkpoint has; it is
/// only asked whether a layer's experts are stacked into one tensor.
std::vector<TensorSpec> listTensors(const ModelConfig &config, const Naming &naming,
                                    llvm::function_ref<bool(llvm::StringRef)> exists);

/// All that a checkpoint made from the config alone has.
std::vector<TensorSpec> listExpectedTensors(const ModelConfig &config);

/// "18560x4096", "scalar" for no dimension.
std::string formatShape(llvm::ArrayRef<int64_t> shape);

} // namespace nemotron::frontends

#endif // FRONTENDS_HUGGINGFACE_MANIFEST_H
