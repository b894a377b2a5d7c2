#include "runtime/plan/validate.h"

#include <algorithm>
#include <cmath>
#include <ranges>
#include <span>
#include <string>
#include <unordered_set>
#include <vector>

#include "runtime/base/dtype.h"
#include "runtime/plan/format.h"
#include "runtime/plan/layout.h"
#include "runtime/plan/weight_size.h"

namespace nemotron::runtime {
namespace {

/// How an entry of a list is called in messages, e.g. "weights[7] 'layers.3.in_proj'".
std::string EntryName(std::string_view list, uint32_t index, std::string_view name) {
  return fmt::format("{}[{}] '{}'", list, index, name);
}

template <typename T>
Status CheckCount(std::string_view what, const T* list, uint32_t minimum, uint32_t maximum) {
  const uint32_t count = list == nullptr ? 0 : list->size();
  if (count < minimum || count > maximum) {
    return DataLoss("{} has {} entries, expected {} to {}", what, count, minimum, maximum);
  }
  return OkStatus();
}

Status CheckRange(std::string_view what, uint64_t value, uint64_t minimum, uint64_t maximum) {
  if (value < minimum || value > maximum) {
    return DataLoss("{} is {}, expected {} to {}", what, value, minimum, maximum);
  }
  return OkStatus();
}

/// The flatbuffers verifier aligns the length of a vector, not its elements.
StatusOr<std::span<const int64_t>> ShapeOf(const std::string& what, const flatbuffers::Vector<int64_t>& shape) {
  const auto* data = shape.Data();
  if (shape.size() == 0) {
    return std::span<const int64_t>();
  }
  if (reinterpret_cast<uintptr_t>(data) % alignof(int64_t) != 0) {
    return DataLoss("{} has a shape at a misaligned place in the metadata", what);
  }
  return std::span(reinterpret_cast<const int64_t*>(data), shape.size());
}

}  // namespace

Status ValidateSegment(const std::string& what, const schema::Segment& segment, uint64_t metadata_offset) {
  const uint64_t offset = segment.offset_bytes();
  if (offset < kSegmentAlignment || offset % kSegmentAlignment != 0) {
    return DataLoss("{} starts at byte {}, expected a multiple of {} behind the preamble", what, offset,
                    kSegmentAlignment);
  }
  if (offset > metadata_offset || segment.size_bytes() > metadata_offset - offset) {
    return DataLoss("{} ends at byte {}, behind the start of the metadata at byte {}", what,
                    fmt::format("{} + {}", offset, segment.size_bytes()), metadata_offset);
  }
  return OkStatus();
}

namespace {

/// Segments may be shared (equal) but not overlap in part.
Status CheckOverlaps(const schema::Plan& plan) {
  struct Range {
    uint64_t begin, end;
    std::string_view name;
  };
  std::vector<Range> ranges;
  ranges.reserve(plan.weights()->size() + 1);
  for (const schema::Weight* weight : *plan.weights()) {
    const schema::Segment& segment = *weight->segment();
    ranges.push_back(
        {segment.offset_bytes(), segment.offset_bytes() + segment.size_bytes(), weight->name()->string_view()});
  }
  for (const schema::Kernel* kernel : *plan.program()->kernels()) {
    for (uint32_t i = 0; kernel->images() != nullptr && i < kernel->images()->size(); ++i) {
      const schema::Segment& segment = *kernel->images()->Get(i)->data();
      ranges.push_back(
          {segment.offset_bytes(), segment.offset_bytes() + segment.size_bytes(), kernel->name()->string_view()});
    }
  }
  if (plan.tokenizer() != nullptr) {
    const schema::Segment& segment = *plan.tokenizer()->data();
    ranges.push_back({segment.offset_bytes(), segment.offset_bytes() + segment.size_bytes(), "tokenizer"});
  }
  std::sort(ranges.begin(), ranges.end(),
            [](const Range& a, const Range& b) { return a.begin != b.begin ? a.begin < b.begin : a.end < b.end; });
  for (size_t i = 1; i < ranges.size(); ++i) {
    const Range &before = ranges[i - 1], &after = ranges[i];
    const bool equal = before.begin == after.begin && before.end == after.end;
    if (after.begin < before.end && !equal) {
      return DataLoss("segments of '{}' (bytes {} to {}) and '{}' (bytes {} to {}) overlap", before.name, before.begin,
                      before.end, after.name, after.begin, after.end);
    }
  }
  return OkStatus();
}

Status CheckWeights(const schema::Plan& plan, uint64_t metadata_offset) {
  RETURN_IF_ERROR(CheckCount("weights", plan.weights(), 0, kMaxWeights));
  std::unordered_set<std::string_view> names;
  for (uint32_t i = 0; i < plan.weights()->size(); ++i) {
    const schema::Weight& weight = *plan.weights()->Get(i);
    RETURN_IF_ERROR(ValidateName(fmt::format("weights[{}].name", i), weight.name()->string_view()));
    const std::string what = EntryName("weights", i, weight.name()->string_view());
    if (!names.insert(weight.name()->string_view()).second) {
      return DataLoss("{} has the name of an earlier weight", what);
    }
    RETURN_IF_ERROR(ValidateEnum(what + " dtype", static_cast<int>(weight.dtype()), 8));
    RETURN_IF_ERROR(ValidateEnum(what + " layout", static_cast<int>(weight.layout()), 3));
    RETURN_IF_ERROR(ValidateSegment(what, *weight.segment(), metadata_offset));
    ASSIGN_OR_RETURN(const std::span<const int64_t> shape, ShapeOf(what, *weight.shape()));
    const StatusOr<int64_t> bytes = WeightBytes(static_cast<DType>(weight.dtype()), weight.layout(), shape);
    if (!bytes.ok()) {
      return DataLoss("{} {}", what, bytes.status().message());
    }
    if (weight.segment()->size_bytes() != static_cast<uint64_t>(*bytes)) {
      return DataLoss("{} has a segment of {} bytes, expected {} for its shape, dtype and layout", what,
                      weight.segment()->size_bytes(), *bytes);
    }
  }
  return OkStatus();
}

/// Types that a state of `kind` may have: what is added up over a sequence needs more digits than what is written once.
std::span<const DType> StateDTypes(schema::StateKind kind) {
  static constexpr DType kTypes[] = {DType::kF32, DType::kBF16, DType::kF8E4M3};
  return std::span(kTypes).first(kind == schema::StateKind::KvCache ? 3 : kind == schema::StateKind::Ssm ? 2 : 1);
}

Status CheckState(const std::string& what, const schema::State& state, uint64_t limit, uint64_t* end) {
  RETURN_IF_ERROR(ValidateEnum(what + " kind", static_cast<int>(state.kind()), 4));
  RETURN_IF_ERROR(ValidateEnum(what + " dtype", static_cast<int>(state.dtype()), 8));
  const auto dtype = static_cast<DType>(state.dtype());
  const std::span<const DType> dtypes = StateDTypes(state.kind());
  if (std::find(dtypes.begin(), dtypes.end(), dtype) == dtypes.end()) {
    const auto names = std::views::transform(dtypes, DTypeName);
    return DataLoss("{} is {}, expected {} for kind {}", what, DTypeName(dtype), fmt::join(names, " or "),
                    schema::EnumNameStateKind(state.kind()));
  }
  const bool in_pages = state.kind() == schema::StateKind::KvCache;
  ASSIGN_OR_RETURN(const std::span<const int64_t> shape, ShapeOf(what, *state.shape()));
  const bool is_window = state.kind() == schema::StateKind::Conv || state.kind() == schema::StateKind::Recent;
  const size_t rank = is_window ? 2 : 3;
  if (shape.size() != rank) {
    return DataLoss("{} has {} dimensions, expected {} for kind {}", what, shape.size(), rank,
                    schema::EnumNameStateKind(state.kind()));
  }
  if (in_pages && shape[0] != 2) {
    return DataLoss("{} has a leading dimension of {}, expected 2 (keys and values)", what, shape[0]);
  }
  StatusOr<int64_t> elements = NumElements(shape);
  if (!elements.ok()) {
    return DataLoss("{} {}", what, elements.status().message());
  }
  if (in_pages) {
    elements = KvCacheElements(*elements, shape[2]);
  }
  const uint64_t alignment = in_pages ? 4 : kBufferAlignment;
  if (state.offset_bytes() % alignment != 0) {
    return DataLoss("{} lies at offset {}, expected a multiple of {}", what, state.offset_bytes(), alignment);
  }
  const uint64_t element_bytes = static_cast<uint64_t>(SizeOf(dtype));
  if (state.offset_bytes() > limit ||
      static_cast<uint64_t>(*elements) > (limit - state.offset_bytes()) / element_bytes) {
    return DataLoss("{} lies at offset {} with {} elements of {} bytes, but {} is {}", what, state.offset_bytes(),
                    *elements, element_bytes, in_pages ? "kv_bytes_per_token" : "slot_bytes", limit);
  }
  *end = state.offset_bytes() + static_cast<uint64_t>(*elements) * element_bytes;
  return OkStatus();
}

Status CheckStates(const schema::Plan& plan) {
  RETURN_IF_ERROR(CheckCount("states", plan.states(), 0, kMaxStates));
  RETURN_IF_ERROR(CheckRange("slot_bytes", plan.slot_bytes(), 0, kMaxSlotBytes));
  RETURN_IF_ERROR(CheckRange("kv_bytes_per_token", plan.kv_bytes_per_token(), 0, kMaxUnitBytes));
  if (plan.slot_bytes() % kBufferAlignment != 0) {
    return DataLoss("slot_bytes is {}, expected a multiple of {}", plan.slot_bytes(), kBufferAlignment);
  }
  if (plan.kv_bytes_per_token() % 4 != 0) {
    return DataLoss("kv_bytes_per_token is {}, expected a multiple of 4", plan.kv_bytes_per_token());
  }
  struct Range {
    uint64_t begin, end;
    uint32_t index;
  };
  std::vector<Range> ranges[2];  // in the slot, in pages
  std::unordered_set<std::string_view> names;
  for (uint32_t i = 0; i < plan.states()->size(); ++i) {
    const schema::State& state = *plan.states()->Get(i);
    RETURN_IF_ERROR(ValidateName(fmt::format("states[{}].name", i), state.name()->string_view()));
    const std::string what = EntryName("states", i, state.name()->string_view());
    if (!names.insert(state.name()->string_view()).second) {
      return DataLoss("{} has the name of an earlier state", what);
    }
    const bool in_pages = state.kind() == schema::StateKind::KvCache;
    uint64_t end = 0;
    RETURN_IF_ERROR(CheckState(what, state, in_pages ? plan.kv_bytes_per_token() : plan.slot_bytes(), &end));
    ranges[in_pages ? 1 : 0].push_back({state.offset_bytes(), end, i});
  }
  for (std::vector<Range>& list : ranges) {
    std::sort(list.begin(), list.end(), [](const Range& a, const Range& b) { return a.begin < b.begin; });
    for (size_t i = 1; i < list.size(); ++i) {
      if (list[i].begin < list[i - 1].end) {
        return DataLoss("states '{}' and '{}' overlap", plan.states()->Get(list[i - 1].index)->name()->string_view(),
                        plan.states()->Get(list[i].index)->name()->string_view());
      }
    }
  }
  return OkStatus();
}

/// The CPU's program of a plan for GPUs, and that weights can be laid out for it.
Status CheckOnCpu(const schema::Plan& plan, uint64_t metadata_offset) {
  if (plan.target()->string_view() != "cuda") {
    return DataLoss("on_cpu is there, but the plan is for target '{}', expected it in plans for 'cuda' alone",
                    plan.target()->string_view());
  }
  const schema::CpuProgram& on_cpu = *plan.on_cpu();
  const uint32_t num_weights = plan.weights()->size();
  RETURN_IF_ERROR(CheckCount("on_cpu.layouts", on_cpu.layouts(), num_weights, num_weights));
  for (uint32_t i = 0; i < num_weights; ++i) {
    const schema::Weight& weight = *plan.weights()->Get(i);
    const auto layout = static_cast<schema::Layout>(on_cpu.layouts()->Get(i));
    const std::string what = fmt::format("on_cpu.layouts[{}], of weight '{}',", i, weight.name()->string_view());
    RETURN_IF_ERROR(ValidateEnum(what, static_cast<int>(layout), 3));
    if (layout != weight.layout() && layout != schema::Layout::Panel) {
      return DataLoss("{} is {}, expected {} as in the file, or Panel", what, schema::EnumNameLayout(layout),
                      schema::EnumNameLayout(weight.layout()));
    }
    ASSIGN_OR_RETURN(const std::span<const int64_t> shape, ShapeOf(what, *weight.shape()));
    const StatusOr<int64_t> bytes = WeightBytes(static_cast<DType>(weight.dtype()), layout, shape);
    if (!bytes.ok()) {
      return DataLoss("{} {}", what, bytes.status().message());
    }
  }
  const PlanProgram of = {plan, *on_cpu.program(), "cpu"};
  Status status = ValidateKernels(of, metadata_offset);
  if (status.ok()) {
    status = ValidateProgram(of);
  }
  return std::move(status).WithContext("in the program on_cpu");
}

Status CheckTokenId(std::string_view what, int32_t id, uint64_t vocab_size, bool optional) {
  if (!(optional && id == -1) && (id < 0 || static_cast<uint64_t>(id) >= vocab_size)) {
    return DataLoss("{} is {}, expected {}0 to {}", what, id, optional ? "-1 (none) or " : "", vocab_size - 1);
  }
  return OkStatus();
}

Status CheckModel(const schema::Model& model) {
  RETURN_IF_ERROR(ValidateName("model.architecture", model.architecture()->string_view()));
  RETURN_IF_ERROR(ValidateEnum("model.dtype", static_cast<int>(model.dtype()), 8));
  RETURN_IF_ERROR(CheckRange("model.vocab_size", model.vocab_size(), 1, kMaxVocabSize));
  RETURN_IF_ERROR(CheckRange("model.hidden_size", model.hidden_size(), 1, kMaxHiddenSize));
  RETURN_IF_ERROR(CheckRange("model.num_layers", model.num_layers(), 0, kMaxLayers));
  RETURN_IF_ERROR(CheckRange("model.max_position_embeddings", model.max_position_embeddings(), 1, kMaxPositions));
  if (model.layers_block_type() != nullptr && model.layers_block_type()->size() != 0) {
    const std::string_view letters = model.layers_block_type()->string_view();
    if (letters.size() != model.num_layers()) {
      return DataLoss("model.layers_block_type has {} letters, expected one for each of {} layers", letters.size(),
                      model.num_layers());
    }
    const size_t odd = letters.find_first_not_of("M*-ED");
    if (odd != std::string_view::npos) {
      return DataLoss("model.layers_block_type[{}] is byte {:#04x}, expected M, *, -, E or D", odd,
                      static_cast<uint8_t>(letters[odd]));
    }
  }
  RETURN_IF_ERROR(CheckTokenId("model.bos_token_id", model.bos_token_id(), model.vocab_size(), true));
  RETURN_IF_ERROR(CheckTokenId("model.pad_token_id", model.pad_token_id(), model.vocab_size(), true));
  if (model.eos_token_ids() != nullptr) {
    RETURN_IF_ERROR(CheckCount("model.eos_token_ids", model.eos_token_ids(), 0, 1024));
    for (uint32_t i = 0; i < model.eos_token_ids()->size(); ++i) {
      RETURN_IF_ERROR(CheckTokenId(fmt::format("model.eos_token_ids[{}]", i), model.eos_token_ids()->Get(i),
                                   model.vocab_size(), false));
    }
  }
  return OkStatus();
}

Status CheckGeneration(const schema::Generation& generation) {
  // Comparisons are written so that a NaN fails them.
  if (!(generation.temperature() >= 0 && generation.temperature() <= 1e6)) {
    return DataLoss("generation.temperature is {}, expected 0 to 1e6", generation.temperature());
  }
  if (generation.top_k() < 0) {
    return DataLoss("generation.top_k is {}, expected at least 0", generation.top_k());
  }
  if (!(generation.top_p() > 0 && generation.top_p() <= 1)) {
    return DataLoss("generation.top_p is {}, expected above 0 and at most 1", generation.top_p());
  }
  if (!(generation.min_p() >= 0 && generation.min_p() <= 1)) {
    return DataLoss("generation.min_p is {}, expected 0 to 1", generation.min_p());
  }
  if (!(generation.repetition_penalty() > 0 && generation.repetition_penalty() <= 1e6)) {
    return DataLoss("generation.repetition_penalty is {}, expected above 0 and at most 1e6",
                    generation.repetition_penalty());
  }
  return OkStatus();
}

}  // namespace

Status ValidateName(std::string_view what, std::string_view name) {
  if (name.empty() || name.size() > kMaxNameBytes) {
    return DataLoss("{} has {} characters, expected 1 to {}", what, name.size(), kMaxNameBytes);
  }
  for (size_t i = 0; i < name.size(); ++i) {
    const auto c = static_cast<uint8_t>(name[i]);
    if (c <= ' ' || c > '~' || c == '\'' || c == '"' || c == '\\') {
      return DataLoss("{} has byte {:#04x} at position {}, expected printable ASCII without spaces and quotes", what, c,
                      i);
    }
  }
  return OkStatus();
}

Status ValidateEnum(std::string_view what, int value, int count) {
  if (value < 0 || value >= count) {
    return DataLoss("{} is {}, expected 0 to {}", what, value, count - 1);
  }
  return OkStatus();
}

Status ValidateMetadata(const schema::Plan& plan, uint64_t metadata_offset) {
  if (plan.version() == 0) {
    return DataLoss("version is 0, expected {} to {}", kOldestPlanVersion, kPlanVersion);
  }
  if (plan.version() < kOldestPlanVersion) {
    return Unimplemented("version is {}, but this build reads plans from version {} on; compile the model again",
                         plan.version(), kOldestPlanVersion);
  }
  if (plan.version() > kPlanVersion) {
    return Unimplemented(
        "version is {}, but this build reads plans up to version {}; use a newer build, or compile again",
        plan.version(), kPlanVersion);
  }
  RETURN_IF_ERROR(ValidateName("target", plan.target()->string_view()));
  if (plan.target()->string_view() != "cpu" && plan.target()->string_view() != "cuda") {
    return Unimplemented("target is '{}', but this build runs plans for 'cpu' and 'cuda'",
                         plan.target()->string_view());
  }
  RETURN_IF_ERROR(CheckModel(*plan.model()));
  RETURN_IF_ERROR(CheckWeights(plan, metadata_offset));
  RETURN_IF_ERROR(CheckStates(plan));
  if (plan.tokenizer() != nullptr) {
    const std::string_view kind = plan.tokenizer()->kind()->string_view();
    RETURN_IF_ERROR(ValidateName("tokenizer.kind", kind));
    if (kind != "tokenizer.json" && kind != "sentencepiece") {
      return Unimplemented("tokenizer.kind is '{}', expected 'tokenizer.json' or 'sentencepiece'", kind);
    }
    RETURN_IF_ERROR(ValidateSegment("tokenizer.data", *plan.tokenizer()->data(), metadata_offset));
  }
  const PlanProgram of = {plan, *plan.program(), plan.target()->string_view()};
  RETURN_IF_ERROR(ValidateKernels(of, metadata_offset));
  RETURN_IF_ERROR(CheckOverlaps(plan));
  if (plan.generation() != nullptr) {
    RETURN_IF_ERROR(CheckGeneration(*plan.generation()));
  }
  RETURN_IF_ERROR(ValidateProgram(of));
  return plan.on_cpu() != nullptr ? CheckOnCpu(plan, metadata_offset) : OkStatus();
}

}  // namespace nemotron::runtime
