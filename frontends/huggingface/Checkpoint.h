//===- Checkpoint.h - tensors of a Hugging Face checkpoint folder ---------------------------------------*- C++ -*-===//
#ifndef FRONTENDS_HUGGINGFACE_CHECKPOINT_H
#define FRONTENDS_HUGGINGFACE_CHECKPOINT_H

#include <memory>
#include <string>
#include <vector>

#include "dialects/Nemotron/Checkpoint.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/Support/LLVM.h"
#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringRef.h"

namespace nemotron::frontends {

/// A weight source that can say all it has.
class TensorSource : public ir::WeightSource {
public:
  /// Names of all tensors, sorted.
  virtual llvm::ArrayRef<std::string> names() const = 0;

  /// The file that `name` is in, or the one it should be in.
  virtual std::string fileOf(llvm::StringRef name) const = 0;

  /// "xxh3:<16 hex digits>" over what the tensors are (names, types, shapes) and where, not over their data.
  virtual std::string hash() const = 0;
};

/// Opens the safetensors of `folder`: `model.safetensors.index.json` with its shards, or `model.safetensors`. Damage is
/// emitted as errors at the file: a shard the index names that is not there, a tensor that is not in the shard the
/// index says, a shard tensor that the index does not know. Data is read with pread into the caller's memory, and a
/// failing disk is an error, not a signal.
mlir::FailureOr<std::unique_ptr<TensorSource>> openCheckpoint(mlir::MLIRContext *context, llvm::StringRef folder);

} // namespace nemotron::frontends

#endif // FRONTENDS_HUGGINGFACE_CHECKPOINT_H
