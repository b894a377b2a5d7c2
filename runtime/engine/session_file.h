#ifndef RUNTIME_ENGINE_SESSION_FILE_H_
#define RUNTIME_ENGINE_SESSION_FILE_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "runtime/base/mapped_file.h"
#include "runtime/base/status.h"
#include "runtime/engine/device.h"
#include "runtime/engine/sequence.h"
#include "runtime/plan/plan.h"

/// A session file holds one sequence: what it has taken in and the state that came of it. Little-endian:
///
///   header   SessionHeader, 64 bytes
///   tokens   int32 [T]
///   slot     the constant-size state, slot_bytes of the plan
///   cache    for each KvCache state, in the plan's order, with P = head_dim and T padded to multiples of 16: keys
///            [heads][T/16][panel of P], values [heads][P/16][T/16][panel of 16], panels as runtime/plan/layout.h says
///
/// The cache is stored without pages, so that an engine with another page size can restore it, and nothing of other
/// sequences that used a page before can leak into the file.
namespace nemotron::runtime {

struct SessionHeader {
  char magic[8];           ///< "NEMOSESS"
  uint32_t version;        ///< 2
  uint32_t reserved;       ///< 0
  uint64_t plan_identity;  ///< PlanIdentity of the plan it belongs to
  uint64_t num_tokens;     ///< T
  uint64_t slot_bytes;
  uint64_t cache_bytes;
  uint64_t payload_checksum;  ///< XXH3-64 of all after the header
  uint64_t header_checksum;   ///< XXH3-64 of the 56 bytes before this field
};
static_assert(sizeof(SessionHeader) == 64);

/// What a state computed by a plan depends on: XXH3-64 over weights (names, types, shapes, checksums), states and
/// program. Names, tokenizer, templates and provenance do not enter, so a plan compiled again from the same checkpoint
/// keeps its sessions.
uint64_t PlanIdentity(const Plan& plan);

/// Writes `sequence`, whose memory is on `device`, to `path`, atomically.
Status SaveSession(const Plan& plan, Device& device, const SequenceTable::Geometry& geometry, const Sequence& sequence,
                   const std::string& path);

/// A session file, mapped and checked: header, sizes, checksum, token ids.
class SessionFile {
 public:
  /// kInvalidArgument if it belongs to another plan; kDataLoss if it is damaged or no session file.
  static StatusOr<SessionFile> Open(const Plan& plan, const std::string& path);

  std::span<const int32_t> tokens() const { return tokens_; }
  /// Copies state and cache to `sequence`, which has pages for all tokens.
  Status CopyTo(const Plan& plan, Device& device, const SequenceTable::Geometry& geometry, Sequence& sequence) const;

 private:
  MappedFile file_;
  std::span<const int32_t> tokens_;
  std::span<const std::byte> slot_, cache_;
};

}  // namespace nemotron::runtime

#endif  // RUNTIME_ENGINE_SESSION_FILE_H_
