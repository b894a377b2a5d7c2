#include "runtime/plan/plan.h"

#include <xxhash.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <set>
#include <utility>

#include "runtime/base/mapped_file.h"
#include "runtime/plan/format.h"
#include "runtime/plan/validate.h"

namespace nemotron::runtime {
namespace {

static_assert(std::endian::native == std::endian::little, "plan files are read in place as little-endian");

constexpr size_t kChecksummedPreambleBytes = offsetof(PlanPreamble, preamble_checksum);
constexpr uint64_t kMaxMetadataBytes = uint64_t{1} << 31;
constexpr uint64_t kAutoVerifyBytes = uint64_t{256} << 20;

StatusOr<PlanPreamble> ReadPreamble(std::span<const std::byte> bytes) {
  PlanPreamble preamble;
  const size_t magic_bytes = std::min(bytes.size(), sizeof(kPlanMagic));
  if (bytes.empty() || std::memcmp(bytes.data(), kPlanMagic, magic_bytes) != 0) {
    return DataLoss("not a plan file: it does not begin with 'NEMOPLAN'");
  }
  if (bytes.size() < sizeof(preamble)) {
    return DataLoss("preamble is cut off: the file has {} bytes, expected at least {}", bytes.size(), sizeof(preamble));
  }
  std::memcpy(&preamble, bytes.data(), sizeof(preamble));
  if (preamble.version > kPlanPreambleVersion) {
    return Unimplemented("preamble version is {}, but this build reads up to {}", preamble.version,
                         kPlanPreambleVersion);
  }
  const uint64_t checksum = XXH3_64bits(bytes.data(), kChecksummedPreambleBytes);
  if (checksum != preamble.preamble_checksum) {
    return DataLoss("preamble has checksum {:016x}, expected {:016x}: the file is damaged", checksum,
                    preamble.preamble_checksum);
  }
  if (preamble.version == 0 || preamble.reserved != 0) {
    return DataLoss("preamble has version {} and reserved {}, expected 1 to {} and 0", preamble.version,
                    preamble.reserved, kPlanPreambleVersion);
  }
  if (preamble.file_size_bytes != bytes.size()) {
    return DataLoss("file has {} bytes, expected {}: it is {}", bytes.size(), preamble.file_size_bytes,
                    bytes.size() < preamble.file_size_bytes ? "truncated" : "longer than it was written");
  }
  if (preamble.metadata_offset < kSegmentAlignment || preamble.metadata_offset % kSegmentAlignment != 0) {
    return DataLoss("metadata starts at byte {}, expected a multiple of {}", preamble.metadata_offset,
                    kSegmentAlignment);
  }
  if (preamble.metadata_offset > bytes.size() || preamble.metadata_size != bytes.size() - preamble.metadata_offset) {
    return DataLoss("metadata of {} bytes starts at byte {} of a {}-byte file, expected it to end there",
                    preamble.metadata_size, preamble.metadata_offset, bytes.size());
  }
  if (preamble.metadata_size >= kMaxMetadataBytes) {
    return DataLoss("metadata has {} bytes, expected fewer than {}", preamble.metadata_size, kMaxMetadataBytes);
  }
  return preamble;
}

StatusOr<const schema::Plan*> ReadMetadata(std::span<const std::byte> bytes, const PlanPreamble& preamble) {
  const std::span<const std::byte> metadata = bytes.subspan(preamble.metadata_offset);
  const uint64_t checksum = XXH3_64bits(metadata.data(), metadata.size());
  if (checksum != preamble.metadata_checksum) {
    return DataLoss("metadata has checksum {:016x}, expected {:016x}: the file is damaged", checksum,
                    preamble.metadata_checksum);
  }
  const auto* data = reinterpret_cast<const uint8_t*>(metadata.data());
  if (metadata.size() < 8 || !schema::PlanBufferHasIdentifier(data)) {
    return DataLoss("metadata has no identifier '{}'", schema::PlanIdentifier());
  }
  // Deeper or larger than any plan: tables nest 5 deep, and the largest models have about 10^5 of them.
  flatbuffers::Verifier verifier(data, metadata.size(), /*max_depth=*/16, /*max_tables=*/1 << 21);
  if (!schema::VerifyPlanBuffer(verifier)) {
    return DataLoss("metadata is not a well-formed flatbuffer of schema nemotron.schema.Plan");
  }
  return schema::GetPlan(data);
}

}  // namespace

StatusOr<std::shared_ptr<const Plan>> Plan::FromBytes(std::span<const std::byte> bytes, const LoadOptions& options,
                                                      std::shared_ptr<const void> owner) {
  if (reinterpret_cast<uintptr_t>(bytes.data()) % kBufferAlignment != 0) {
    return InvalidArgument("the plan lies at an address that is not a multiple of {}", kBufferAlignment);
  }
  ASSIGN_OR_RETURN(const PlanPreamble preamble, ReadPreamble(bytes));
  ASSIGN_OR_RETURN(const schema::Plan* root, ReadMetadata(bytes, preamble));
  RETURN_IF_ERROR(ValidateMetadata(*root, preamble.metadata_offset));

  std::shared_ptr<Plan> plan(new Plan());
  plan->owner_ = std::move(owner);
  plan->bytes_ = bytes;
  plan->path_ = options.path;
  plan->root_ = root;
  std::set<uint64_t> offsets;  // weights may share a segment
  for (const schema::Weight* weight : *root->weights()) {
    if (offsets.insert(weight->segment()->offset_bytes()).second) {
      plan->weight_bytes_ += static_cast<int64_t>(weight->segment()->size_bytes());
    }
  }
  const bool verify = options.verify_weights == LoadOptions::VerifyWeights::kAlways ||
                      (options.verify_weights == LoadOptions::VerifyWeights::kAuto && bytes.size() <= kAutoVerifyBytes);
  if (verify) {
    RETURN_IF_ERROR(plan->VerifySegments());
  }
  return std::shared_ptr<const Plan>(std::move(plan));
}

StatusOr<std::shared_ptr<const Plan>> Plan::Load(const std::string& path, const LoadOptions& options) {
  ASSIGN_OR_RETURN(MappedFile file, MappedFile::Open(path));
  const auto owner = std::make_shared<const MappedFile>(std::move(file));
  StatusOr<std::shared_ptr<const Plan>> plan =
      FromBytes(owner->bytes(), {.verify_weights = options.verify_weights, .path = path}, owner);
  if (!plan.ok()) {
    return std::move(plan).status().WithContext(fmt::format("while loading '{}'", path));
  }
  return plan;
}

Status Plan::VerifySegments() const {
  std::set<uint64_t> done;
  const auto verify = [&](const std::string& what, const schema::Segment& segment) {
    if (!done.insert(segment.offset_bytes()).second) {
      return OkStatus();
    }
    const std::span<const std::byte> bytes = SegmentBytes(segment);
    const uint64_t checksum = XXH3_64bits(bytes.data(), bytes.size());
    if (checksum != segment.checksum()) {
      return DataLoss("{} has checksum {:016x}, expected {:016x}: the file is damaged", what, checksum,
                      segment.checksum());
    }
    return OkStatus();
  };
  for (uint32_t i = 0; i < root_->weights()->size(); ++i) {
    const schema::Weight& weight = *root_->weights()->Get(i);
    RETURN_IF_ERROR(verify(fmt::format("weights[{}] '{}'", i, weight.name()->string_view()), *weight.segment()));
  }
  for (const schema::Kernel* kernel : *root_->program()->kernels()) {
    for (uint32_t i = 0; kernel->images() != nullptr && i < kernel->images()->size(); ++i) {
      const schema::Image& image = *kernel->images()->Get(i);
      RETURN_IF_ERROR(verify(fmt::format("image {} of kernel '{}'", i, kernel->name()->string_view()), *image.data()));
    }
  }
  if (root_->tokenizer() != nullptr) {
    RETURN_IF_ERROR(verify("tokenizer.data", *root_->tokenizer()->data()));
  }
  return OkStatus();
}

}  // namespace nemotron::runtime
