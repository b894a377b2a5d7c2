//===- CudaSample.cpp - tokens drawn from logits ------------------------------------------------------------------===//
#include "codegen/cuda/CudaKernels.h"

using namespace mlir;
using namespace nemotron::plan;

namespace nemotron::codegen {

FailureOr<KernelSpec> specializeSample(DispatchOp dispatch) {
  KernelText text(dispatch, "sample");
  BufferShape logits = text.shape("logits");
  text.constant("kColumns", logits.columns).constant("kStride", logits.stride);
  // A block a row that is sampled, and none where the host takes the logits.
  text.launch("sample", "Sample<Config>", {"A"}, 1024, 0, {"input logits", "output rows", "step"});
  return text.finish("f32_" + Twine(logits.columns));
}

} // namespace nemotron::codegen
