#ifndef RUNTIME_PLAN_PLAN_WRITER_H_
#define RUNTIME_PLAN_PLAN_WRITER_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "runtime/base/file_writer.h"
#include "runtime/base/status.h"
#include "runtime/plan/format.h"
#include "runtime/plan/plan_generated.h"

namespace nemotron::runtime {

/// What a plan begins with whose metadata is at `metadata_offset`.
PlanPreamble MakePreamble(std::span<const std::byte> metadata, uint64_t metadata_offset);

/// Writes a plan file from front to end: segments are streamed and checksummed as they pass by, the flatbuffer follows,
/// and the preamble is filled in last. The file appears at its path only when `Finish` succeeded; a writer that is
/// dropped before leaves nothing behind.
///
///   ASSIGN_OR_RETURN(PlanWriter writer, PlanWriter::Create("m.plan"));
///   RETURN_IF_ERROR(writer.BeginSegment());
///   RETURN_IF_ERROR(writer.Append(panel));           // any number of times
///   ASSIGN_OR_RETURN(schema::Segment segment, writer.EndSegment());
///   weight->segment = std::make_unique<schema::Segment>(segment);
///   RETURN_IF_ERROR(writer.Finish(plan));
class PlanWriter {
 public:
  /// Starts a file beside `path`, replacing `path` at the end. Errors are those of FileWriter.
  static StatusOr<PlanWriter> Create(const std::string& path);
  PlanWriter(PlanWriter&&) noexcept;
  PlanWriter& operator=(PlanWriter&&) noexcept;
  ~PlanWriter();

  /// Pads the file to the next segment boundary. kFailedPrecondition if a segment is open.
  Status BeginSegment();
  /// Adds bytes to the open segment.
  Status Append(std::span<const std::byte> bytes);
  /// Closes the segment and tells where it lies, with its checksum.
  StatusOr<schema::Segment> EndSegment();
  /// Packs and writes `plan` (setting its version), then the preamble, and moves the file to its path.
  /// kInvalidArgument if the result would not load: what the loader rejects is never written.
  Status Finish(schema::PlanT& plan);

  /// Bytes of the file so far.
  int64_t size_bytes() const { return static_cast<int64_t>(offset_); }

 private:
  struct Hash;
  PlanWriter(FileWriter file, std::unique_ptr<Hash> hash);
  Status Write(std::span<const std::byte> bytes);
  Status PadToBoundary();

  FileWriter file_;
  std::unique_ptr<Hash> hash_;
  uint64_t offset_ = 0;
  uint64_t segment_start_ = 0;
  bool in_segment_ = false;
};

}  // namespace nemotron::runtime

#endif  // RUNTIME_PLAN_PLAN_WRITER_H_
