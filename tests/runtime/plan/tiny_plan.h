#ifndef TESTS_RUNTIME_PLAN_TINY_PLAN_H_
#define TESTS_RUNTIME_PLAN_TINY_PLAN_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "runtime/plan/plan.h"
#include "runtime/plan/plan_generated.h"

namespace nemotron::runtime::testing {

/// A small plan built by hand, with one of each: embedding, convolution and SSM state, attention with a KV cache, head.
/// Weights are random (seeded), about unit scale, so that every token and every state changes the logits.
struct TinyPlanOptions {
  uint64_t seed = 1;
  int64_t vocab_size = 40;
  bool with_recurrence = true;  ///< convolution and scan
  bool with_attention = true;
  bool with_all_kernels = false;    ///< one more dispatch of each other kernel, behind the attention
  std::string tokenizer_json = {};  ///< contents of a tokenizer.json; empty: no tokenizer
  int64_t max_position_embeddings = 256;
  schema::DType ssm_dtype = schema::DType::F32;
  schema::DType cache_dtype = schema::DType::F32;
};

/// A plan that is not a file yet: metadata to be changed at will, and the bytes of its segments.
struct PlanDraft {
  schema::PlanT plan;
  std::vector<std::byte> segments;  ///< from byte 4096 of the file on; a multiple of 4096 bytes

  /// The offset that the metadata gets in the file.
  uint64_t metadata_offset() const { return 4096 + segments.size(); }
};

PlanDraft MakeTinyPlan(const TinyPlanOptions& options = {});

/// The same as if its kernels had been compiled for GPUs: each has a launch, and an image of a few bytes that all
/// share.
PlanDraft MakeCompiledPlan();

/// That, with the tiny plan's program for the CPU beside it: matrices lie row-major, and the CPU wants panels.
PlanDraft MakePlanForBoth();

/// Bytes at an address aligned to 4096, as in a mapped file.
class AlignedBytes {
 public:
  explicit AlignedBytes(std::span<const std::byte> bytes);
  std::span<std::byte> span() { return {data_.get(), size_}; }
  std::span<const std::byte> span() const { return {data_.get(), size_}; }

 private:
  struct Free {
    void operator()(std::byte* data) const;
  };
  std::unique_ptr<std::byte, Free> data_;
  size_t size_;
};

/// The file of a draft with right checksums, whatever its metadata says: unlike PlanWriter, this checks nothing.
std::vector<std::byte> PackPlan(const PlanDraft& draft);

/// Packs and loads; the result owns its bytes. Fails the test if the plan is rejected.
std::shared_ptr<const Plan> LoadDraft(const PlanDraft& draft);
inline std::shared_ptr<const Plan> LoadTinyPlan(const TinyPlanOptions& options = {}) {
  return LoadDraft(MakeTinyPlan(options));
}

}  // namespace nemotron::runtime::testing

#endif  // TESTS_RUNTIME_PLAN_TINY_PLAN_H_
