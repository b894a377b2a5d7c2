// Loads plans that nobody should have made, and runs those that are accepted.
//
// An input is either a plan file (it begins with "NEMOPLAN"), whose checksums are made right first, or the metadata of
// one: then preamble and segments are put in front of it. Without that, nothing would ever get past the checksums.

#include <xxhash.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "runtime/engine/engine.h"
#include "runtime/plan/format.h"
#include "runtime/plan/plan.h"

namespace nemotron::runtime {
namespace {

constexpr size_t kSegmentsBytes = 96 << 10;  // enough for the tiny plan of tests/runtime/plan
constexpr size_t kMaxInputBytes = 1 << 20;

/// The file for an input, in memory aligned as a mapped file.
struct Image {
  explicit Image(size_t size)
      : bytes(static_cast<std::byte*>(std::aligned_alloc(4096, (size + 4095) / 4096 * 4096))), size(size) {}
  ~Image() { std::free(bytes); }
  Image(const Image&) = delete;
  Image& operator=(const Image&) = delete;
  std::byte* bytes;
  size_t size;
};

void WritePreamble(Image& image, size_t metadata_offset) {
  PlanPreamble preamble = {};
  std::memcpy(preamble.magic, kPlanMagic, sizeof(kPlanMagic));
  preamble.version = kPlanPreambleVersion;
  preamble.file_size_bytes = image.size;
  preamble.metadata_offset = metadata_offset;
  preamble.metadata_size = image.size - metadata_offset;
  preamble.metadata_checksum = XXH3_64bits(image.bytes + metadata_offset, preamble.metadata_size);
  preamble.preamble_checksum = XXH3_64bits(&preamble, offsetof(PlanPreamble, preamble_checksum));
  std::memcpy(image.bytes, &preamble, sizeof(preamble));
}

/// Takes the plan as far as it goes: load, prepare, two steps with two sequences.
void Use(const Image& image) {
  const auto plan =
      Plan::FromBytes({image.bytes, image.size}, {.verify_weights = Plan::LoadOptions::VerifyWeights::kNever});
  if (!plan.ok()) {
    return;
  }
  EngineOptions options;
  options.num_threads = 1;
  options.max_sequences = 2;
  options.max_tokens_per_step = 4;
  options.max_rows_per_step = 2;
  options.context_tokens = 32;
  options.page_tokens = 16;
  options.memory_limit_bytes = 32 << 20;
  const auto engine = Engine::Load(*plan, options);
  if (!engine.ok()) {
    return;
  }
  const auto a = (*engine)->CreateSequence(), b = (*engine)->CreateSequence();
  if (!a.ok() || !b.ok()) {
    return;
  }
  const auto last = static_cast<int32_t>((*engine)->vocab_size() - 1);
  const std::vector<int32_t> prompt = {0, last, 0, last, 0, last}, next = {last};
  std::vector<float> logits;
  const StepEntry first[] = {{*a, prompt, StepEntry::Logits::kAll}, {*b, next}};
  const StepEntry second[] = {{*b, prompt}, {*a, next}};
  if ((*engine)->Step(first, &logits).ok()) {
    static_cast<void>((*engine)->Step(second, &logits));
  }
}

}  // namespace
}  // namespace nemotron::runtime

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace nemotron::runtime;  // NOLINT
  if (size > kMaxInputBytes) {
    return 0;
  }
  if (size >= sizeof(PlanPreamble) && std::memcmp(data, kPlanMagic, sizeof(kPlanMagic)) == 0) {
    Image image(size);
    std::memcpy(image.bytes, data, size);
    Use(image);  // as it is, ...
    PlanPreamble preamble;
    std::memcpy(&preamble, data, sizeof(preamble));
    if (preamble.metadata_offset % 4096 == 0 && preamble.metadata_offset >= 4096 && preamble.metadata_offset <= size) {
      WritePreamble(image, preamble.metadata_offset);
      Use(image);  // ... and with right checksums
    }
    return 0;
  }
  const size_t metadata_offset = 4096 + kSegmentsBytes;
  Image image(metadata_offset + size);
  // Small floats, so that kernels do not spend their time on infinities.
  const float value = 0.25f;
  for (size_t i = 0; i < metadata_offset; i += sizeof(value)) {
    std::memcpy(image.bytes + i, &value, sizeof(value));
  }
  std::copy_n(reinterpret_cast<const std::byte*>(data), size, image.bytes + metadata_offset);
  WritePreamble(image, metadata_offset);
  Use(image);
  return 0;
}
