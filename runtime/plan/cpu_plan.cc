#include "runtime/plan/cpu_plan.h"

#include <xxhash.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <span>
#include <utility>
#include <vector>

#include "runtime/base/for_each_block.h"
#include "runtime/base/pages.h"
#include "runtime/plan/format.h"
#include "runtime/plan/packing.h"
#include "runtime/plan/plan_writer.h"
#include "runtime/plan/weight_size.h"

namespace nemotron::runtime {
namespace {

constexpr uint64_t kMaxImageBytes = uint64_t{1} << 46;
constexpr int64_t kBlockBytes = 4 << 20;  // large enough for sequential reads, small enough to share among threads

/// The metadata of `root` with the CPU's program in the place of its own. Segments are still those of the file.
schema::PlanT MakeMetadata(const schema::Plan& root) {
  schema::PlanT plan;
  plan.version = root.version();
  plan.target = "cpu";
  plan.model.reset(root.model()->UnPack());
  for (uint32_t i = 0; i < root.weights()->size(); ++i) {
    plan.weights.emplace_back(root.weights()->Get(i)->UnPack());
    plan.weights.back()->layout = static_cast<schema::Layout>(root.on_cpu()->layouts()->Get(i));
  }
  for (const schema::State* state : *root.states()) {
    plan.states.emplace_back(state->UnPack());
  }
  plan.program.reset(root.on_cpu()->program()->UnPack());
  plan.slot_bytes = root.slot_bytes();
  plan.kv_bytes_per_token = root.kv_bytes_per_token();
  if (root.tokenizer() != nullptr) {
    plan.tokenizer.reset(root.tokenizer()->UnPack());
  }
  if (root.chat_template() != nullptr) {
    plan.chat_template = root.chat_template()->str();
  }
  if (root.generation() != nullptr) {
    plan.generation.reset(root.generation()->UnPack());
  }
  if (root.provenance() != nullptr) {
    plan.provenance.reset(root.provenance()->UnPack());
  }
  return plan;
}

/// Gives every segment a place of its own, and returns where the last one ends.
StatusOr<uint64_t> PlaceSegments(schema::PlanT& plan) {
  uint64_t end = kSegmentAlignment;
  const auto place = [&](uint64_t size_bytes, schema::Segment& segment) {
    if (size_bytes > kMaxImageBytes - end) {
      return Error(StatusCode::kResourceExhausted, "the weights take more than {} bytes as the CPU wants them",
                   kMaxImageBytes);
    }
    segment = schema::Segment(end, size_bytes, segment.checksum());
    end = (end + size_bytes + kSegmentAlignment - 1) / kSegmentAlignment * kSegmentAlignment;
    return OkStatus();
  };
  for (const auto& weight : plan.weights) {
    ASSIGN_OR_RETURN(const int64_t bytes,
                     WeightBytes(static_cast<DType>(weight->dtype), weight->layout, weight->shape));
    RETURN_IF_ERROR(place(static_cast<uint64_t>(bytes), *weight->segment));
  }
  if (plan.tokenizer != nullptr) {
    RETURN_IF_ERROR(place(plan.tokenizer->data->size_bytes(), *plan.tokenizer->data));
  }
  return end;
}

/// How one weight comes from its place in the source to its place in the image, in units: panels, or bytes where the
/// layout stays.
class Move {
 public:
  Move(const schema::Weight& source, std::span<const std::byte> from, const schema::Weight& target, std::byte* to)
      : from_(from),
        to_(to),
        from_layout_(source.layout()),
        repacks_(source.layout() != target.layout()),
        dtype_(static_cast<DType>(source.dtype())) {
    if (repacks_) {
      const auto& shape = *source.shape();
      n_ = shape.Get(shape.size() - 2);
      k_ = shape.Get(shape.size() - 1);
      panel_bytes_ = PanelElements(dtype_, k_) * SizeOf(dtype_);
      num_units_ = NumPanels(n_) * (shape.size() == 3 ? shape.Get(0) : 1);
    } else {
      num_units_ = static_cast<int64_t>(from.size());
    }
  }

  int64_t num_units() const { return num_units_; }
  int64_t unit_bytes() const { return repacks_ ? panel_bytes_ : 1; }  ///< in the image

  Status Run(int64_t first, int64_t count) const {
    const int64_t begin = SourceOffset(first), end = SourceOffset(first + count);
    RETURN_IF_ERROR(PopulatePages(from_.subspan(static_cast<size_t>(begin), static_cast<size_t>(end - begin))));
    if (!repacks_) {
      std::memcpy(to_ + first, from_.data() + first, static_cast<size_t>(count));
      return OkStatus();
    }
    for (int64_t panel = first; panel < first + count; ++panel) {
      const int64_t row = panel % NumPanels(n_) * kPanelRows;
      RepackAsPanel(from_layout_, dtype_, k_, std::min(kPanelRows, n_ - row), from_.data() + SourceOffset(panel),
                    to_ + panel * panel_bytes_);
    }
    return OkStatus();
  }

 private:
  int64_t SourceOffset(int64_t unit) const {
    if (!repacks_) {
      return unit;
    }
    if (from_layout_ == schema::Layout::Fragment) {
      return unit * FragmentElements(dtype_, k_) * SizeOf(dtype_);
    }
    const int64_t row = unit / NumPanels(n_) * n_ + unit % NumPanels(n_) * kPanelRows;
    return row * k_ * SizeOf(dtype_);
  }

  std::span<const std::byte> from_;
  std::byte* to_;
  schema::Layout from_layout_;
  bool repacks_;
  DType dtype_;
  int64_t n_ = 0, k_ = 0;  // of one matrix
  int64_t panel_bytes_ = 0;
  int64_t num_units_ = 0;
};

}  // namespace

StatusOr<CpuPlan> CpuPlan::Create(const Plan& source) {
  schema::PlanT plan = MakeMetadata(source.root());
  ASSIGN_OR_RETURN(const uint64_t metadata_offset, PlaceSegments(plan));
  flatbuffers::FlatBufferBuilder builder;
  schema::FinishPlanBuffer(builder, schema::Plan::Pack(builder, &plan));
  const std::span<const std::byte> metadata = std::as_bytes(std::span(builder.GetBufferPointer(), builder.GetSize()));
  const PlanPreamble preamble = MakePreamble(metadata, metadata_offset);

  CpuPlan result;
  result.source_ = &source;
  const auto size = static_cast<int64_t>(preamble.file_size_bytes);
  ASSIGN_OR_RETURN(std::byte* const image, MapPages(size));
  result.image_ = std::shared_ptr<std::byte>(image, [size](std::byte* data) { UnmapPages(data, size); });
  std::memcpy(image, &preamble, sizeof(preamble));
  std::copy(metadata.begin(), metadata.end(), image + metadata_offset);
  if (plan.tokenizer != nullptr) {
    const std::span<const std::byte> text = source.SegmentBytes(*source.root().tokenizer()->data());
    std::copy(text.begin(), text.end(), image + plan.tokenizer->data->offset_bytes());
  }
  ASSIGN_OR_RETURN(result.plan_,
                   Plan::FromBytes({image, preamble.file_size_bytes},
                                   {.verify_weights = Plan::LoadOptions::VerifyWeights::kNever, .path = source.path()},
                                   result.image_));
  return result;
}

Status CpuPlan::Fill(int num_threads, const std::function<void(int64_t done, int64_t total)>& progress) {
  struct Block {
    size_t move;
    int64_t first, count;
  };
  std::vector<Move> moves;
  std::vector<Block> blocks;
  int64_t total = 0;
  for (uint32_t i = 0; i < plan_->root().weights()->size(); ++i) {
    const schema::Weight& source = *source_->root().weights()->Get(i);
    const schema::Weight& target = *plan_->root().weights()->Get(i);
    moves.emplace_back(source, source_->SegmentBytes(*source.segment()), target,
                       image_.get() + target.segment()->offset_bytes());
    const Move& move = moves.back();
    const int64_t step = std::max<int64_t>(1, kBlockBytes / move.unit_bytes());
    for (int64_t first = 0; first < move.num_units(); first += step) {
      blocks.push_back({i, first, std::min(step, move.num_units() - first)});
    }
    total += move.num_units() * move.unit_bytes();
  }
  std::atomic<int64_t> done{0};
  Status status = ForEachBlock(
      blocks.size(), static_cast<size_t>(num_threads),
      [&](size_t index) {
        const Block& block = blocks[index];
        RETURN_IF_ERROR(moves[block.move].Run(block.first, block.count));
        done += block.count * moves[block.move].unit_bytes();
        return OkStatus();
      },
      [&] {
        if (const int64_t so_far = done; progress && so_far < total) {
          progress(so_far, total);
        }
      });
  if (!status.ok()) {
    return Error(status.code(), "cannot read the weights of '{}': {}", source_->path(), status.message());
  }
  Seal(num_threads);
  if (progress) {
    progress(total, total);
  }
  return OkStatus();
}

/// Writes the checksums, for which Create left room.
void CpuPlan::Seal(int num_threads) {
  const auto& weights = *plan_->root().weights();
  (void)ForEachBlock(weights.size(), static_cast<size_t>(num_threads),
                     [&](size_t index) {
                       // Lies in image_, which is ours to write.
                       auto& segment =
                           const_cast<schema::Segment&>(*weights.Get(static_cast<uint32_t>(index))->segment());
                       const std::span<const std::byte> bytes = plan_->SegmentBytes(segment);
                       segment = schema::Segment(segment.offset_bytes(), segment.size_bytes(),
                                                 XXH3_64bits(bytes.data(), bytes.size()));
                       return OkStatus();
                     },
                     {});
  PlanPreamble preamble;
  std::memcpy(&preamble, image_.get(), sizeof(preamble));
  const std::span<const std::byte> metadata = plan_->bytes().subspan(preamble.metadata_offset);
  preamble = MakePreamble(metadata, preamble.metadata_offset);
  std::memcpy(image_.get(), &preamble, sizeof(preamble));
}

}  // namespace nemotron::runtime
