#include "runtime/plan/plan_writer.h"

#include <xxhash.h>

#include <array>
#include <cstring>
#include <utility>

#include "runtime/plan/validate.h"

namespace nemotron::runtime {

PlanPreamble MakePreamble(std::span<const std::byte> metadata, uint64_t metadata_offset) {
  PlanPreamble preamble = {};
  std::memcpy(preamble.magic, kPlanMagic, sizeof(kPlanMagic));
  preamble.version = kPlanPreambleVersion;
  preamble.metadata_offset = metadata_offset;
  preamble.metadata_size = metadata.size();
  preamble.file_size_bytes = metadata_offset + metadata.size();
  preamble.metadata_checksum = XXH3_64bits(metadata.data(), metadata.size());
  preamble.preamble_checksum = XXH3_64bits(&preamble, offsetof(PlanPreamble, preamble_checksum));
  return preamble;
}

struct PlanWriter::Hash {
  Hash() : state(XXH3_createState()) {}
  ~Hash() { XXH3_freeState(state); }
  Hash(const Hash&) = delete;
  Hash& operator=(const Hash&) = delete;
  XXH3_state_t* state;
};

PlanWriter::PlanWriter(FileWriter file, std::unique_ptr<Hash> hash) : file_(std::move(file)), hash_(std::move(hash)) {}
PlanWriter::PlanWriter(PlanWriter&&) noexcept = default;
PlanWriter& PlanWriter::operator=(PlanWriter&&) noexcept = default;
PlanWriter::~PlanWriter() = default;

StatusOr<PlanWriter> PlanWriter::Create(const std::string& path) {
  ASSIGN_OR_RETURN(FileWriter file, FileWriter::Create(path));
  PlanWriter writer(std::move(file), std::make_unique<Hash>());
  // The preamble's page stays zero until the end, so that an unfinished file is never taken for a plan.
  const std::array<std::byte, kSegmentAlignment> page{};
  RETURN_IF_ERROR(writer.Write(page));
  return writer;
}

Status PlanWriter::Write(std::span<const std::byte> bytes) {
  RETURN_IF_ERROR(file_.Append(bytes));
  offset_ += bytes.size();
  return OkStatus();
}

Status PlanWriter::PadToBoundary() {
  static constexpr std::array<std::byte, kSegmentAlignment> kZeros{};
  const uint64_t surplus = offset_ % kSegmentAlignment;
  return surplus == 0 ? OkStatus() : Write(std::span(kZeros).first(kSegmentAlignment - surplus));
}

Status PlanWriter::BeginSegment() {
  if (in_segment_) {
    return Error(StatusCode::kFailedPrecondition, "a segment was begun while another was open");
  }
  RETURN_IF_ERROR(PadToBoundary());
  segment_start_ = offset_;
  in_segment_ = true;
  XXH3_64bits_reset(hash_->state);
  return OkStatus();
}

Status PlanWriter::Append(std::span<const std::byte> bytes) {
  if (!in_segment_) {
    return Error(StatusCode::kFailedPrecondition, "bytes were appended while no segment was open");
  }
  XXH3_64bits_update(hash_->state, bytes.data(), bytes.size());
  return Write(bytes);
}

StatusOr<schema::Segment> PlanWriter::EndSegment() {
  if (!in_segment_) {
    return Error(StatusCode::kFailedPrecondition, "a segment was ended while none was open");
  }
  in_segment_ = false;
  return schema::Segment(segment_start_, offset_ - segment_start_, XXH3_64bits_digest(hash_->state));
}

Status PlanWriter::Finish(schema::PlanT& plan) {
  if (in_segment_) {
    return Error(StatusCode::kFailedPrecondition, "the plan was finished while a segment was open");
  }
  RETURN_IF_ERROR(PadToBoundary());
  plan.version = kPlanVersion;
  if (plan.model == nullptr || plan.program == nullptr) {
    return InvalidArgument("the plan has no {}", plan.model == nullptr ? "model" : "program");
  }
  flatbuffers::FlatBufferBuilder builder;
  schema::FinishPlanBuffer(builder, schema::Plan::Pack(builder, &plan));
  flatbuffers::Verifier verifier(builder.GetBufferPointer(), builder.GetSize(), /*max_depth=*/16,
                                 /*max_tables=*/1 << 21);
  if (!schema::VerifyPlanBuffer(verifier)) {
    return InvalidArgument("the plan lacks a required field or has too many tables");
  }
  Status valid = ValidateMetadata(*schema::GetPlan(builder.GetBufferPointer()), offset_);
  if (!valid.ok()) {
    return InvalidArgument("the plan would not load: {}", valid.message());
  }

  const std::span<const std::byte> metadata = std::as_bytes(std::span(builder.GetBufferPointer(), builder.GetSize()));
  const PlanPreamble preamble = MakePreamble(metadata, offset_);
  RETURN_IF_ERROR(Write(metadata));
  RETURN_IF_ERROR(file_.WriteAt(0, std::as_bytes(std::span(&preamble, 1))));
  return file_.Commit();
}

}  // namespace nemotron::runtime
