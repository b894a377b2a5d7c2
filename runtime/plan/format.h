#ifndef RUNTIME_PLAN_FORMAT_H_
#define RUNTIME_PLAN_FORMAT_H_

#include <cstdint>

namespace nemotron::runtime {

/// A plan file is: preamble (one 4 KiB page), segments (weights and the tokenizer, each at a multiple of 4 KiB), and at
/// the end the flatbuffer of plan.fbs. The flatbuffer stands last so that weights can be streamed to disk before their
/// checksums are known; nothing but the preamble is ever written twice. All integers are little-endian.
struct PlanPreamble {
  char magic[8];               ///< "NEMOPLAN"
  uint32_t version;            ///< of this preamble: 1
  uint32_t reserved;           ///< 0
  uint64_t file_size_bytes;    ///< of the whole file, to detect truncation
  uint64_t metadata_offset;    ///< of the flatbuffer, a multiple of 4096
  uint64_t metadata_size;      ///< of the flatbuffer in bytes, below 2 GiB
  uint64_t metadata_checksum;  ///< XXH3-64 of the flatbuffer
  uint64_t preamble_checksum;  ///< XXH3-64 of the 48 bytes before this field
};
static_assert(sizeof(PlanPreamble) == 56);

inline constexpr char kPlanMagic[8] = {'N', 'E', 'M', 'O', 'P', 'L', 'A', 'N'};
inline constexpr uint32_t kPlanPreambleVersion = 1;
inline constexpr uint32_t kPlanVersion = 4;        ///< newest `Plan.version` this build writes and reads
inline constexpr uint32_t kOldestPlanVersion = 3;  ///< oldest that it reads
inline constexpr uint64_t kSegmentAlignment = 4096;
inline constexpr uint64_t kBufferAlignment = 64;  ///< of buffer rows and offsets, and of states in a slot

}  // namespace nemotron::runtime

#endif  // RUNTIME_PLAN_FORMAT_H_
