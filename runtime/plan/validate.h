#ifndef RUNTIME_PLAN_VALIDATE_H_
#define RUNTIME_PLAN_VALIDATE_H_

#include <cstdint>
#include <span>
#include <string_view>

#include "runtime/base/status.h"
#include "runtime/plan/plan_generated.h"

namespace nemotron::runtime {

/// Bounds on what a plan may say, far above any model, so that sums and products of sizes stay within 64 bits and a
/// damaged file cannot ask for unbounded work.
inline constexpr uint32_t kMaxWeights = 1 << 17;
inline constexpr uint32_t kMaxStates = 1 << 16;
inline constexpr uint32_t kMaxBuffers = 1 << 16;
inline constexpr uint32_t kMaxDispatches = 1 << 17;
inline constexpr uint32_t kMaxKernels = 1 << 12;
inline constexpr uint32_t kMaxArguments = 64;   // of a dispatch
inline constexpr uint32_t kMaxParameters = 64;  // of a dispatch
inline constexpr uint32_t kMaxLayers = 1 << 14;
inline constexpr uint32_t kMaxNameBytes = 256;
inline constexpr uint64_t kMaxVocabSize = 1 << 24;
inline constexpr uint64_t kMaxHiddenSize = 1 << 20;
inline constexpr uint64_t kMaxPositions = uint64_t{1} << 40;
inline constexpr uint64_t kMaxUnitBytes = uint64_t{1} << 30;  // of an arena, per token or row; of all KV, per token
inline constexpr uint64_t kMaxSlotBytes = uint64_t{1} << 36;

/// Checks everything that the flatbuffers verifier does not: versions, enums, ranges, sizes, indices, names. Segments
/// must lie between the preamble and `metadata_offset`. `plan` must have passed the flatbuffers verifier. kDataLoss or
/// kUnimplemented, naming the field, what was found and what was expected.
Status ValidateMetadata(const schema::Plan& plan, uint64_t metadata_offset);

/// A program of a plan: its own, or the one that it holds for the CPU.
struct PlanProgram {
  const schema::Plan& plan;
  const schema::Program& program;
  std::string_view target;  ///< that the program is for
};

/// The part of it about a program: buffers within their arenas, indices and columns of arguments, and the flow
/// of data: whatever a dispatch reads was written before and not overwritten since, and no output overlaps another
/// argument.
Status ValidateProgram(const PlanProgram& of);

/// Kernels: names, and where they are compiled launches and images. A step of `ValidateMetadata`.
Status ValidateKernels(const PlanProgram& of, uint64_t metadata_offset);

/// A segment lies between the preamble and the metadata. kDataLoss, with `what` as the field.
Status ValidateSegment(const std::string& what, const schema::Segment& segment, uint64_t metadata_offset);

/// Names are 1 to 256 printable ASCII characters without spaces or quotes. `what` is the field for the message.
Status ValidateName(std::string_view what, std::string_view name);

/// `value` is one of the first `count` values of an enum.
Status ValidateEnum(std::string_view what, int value, int count);

}  // namespace nemotron::runtime

#endif  // RUNTIME_PLAN_VALIDATE_H_
