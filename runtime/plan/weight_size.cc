#include "runtime/plan/weight_size.h"

#include <fmt/ranges.h>

#include "runtime/plan/layout.h"

namespace nemotron::runtime {
namespace {

constexpr size_t kMaxRank = 8;
constexpr int64_t kMaxElements = int64_t{1} << 62;

}  // namespace

StatusOr<int64_t> NumElements(std::span<const int64_t> shape) {
  if (shape.empty() || shape.size() > kMaxRank) {
    return InvalidArgument("has {} dimensions, expected 1 to {}", shape.size(), kMaxRank);
  }
  int64_t elements = 1;
  for (const int64_t size : shape) {
    if (size < 1) {
      return InvalidArgument("has shape [{}], expected dimensions of at least 1", fmt::join(shape, ", "));
    }
    if (__builtin_mul_overflow(elements, size, &elements) || elements > kMaxElements) {
      return InvalidArgument("has shape [{}], more than 2^62 elements", fmt::join(shape, ", "));
    }
  }
  return elements;
}

StatusOr<int64_t> WeightBytes(DType dtype, schema::Layout layout, std::span<const int64_t> shape) {
  ASSIGN_OR_RETURN(int64_t elements, NumElements(shape));
  if (layout != schema::Layout::RowMajor) {
    const bool is_panel = layout == schema::Layout::Panel;
    const char* const name = schema::EnumNameLayout(layout);
    if (shape.size() != 2 && shape.size() != 3) {
      return InvalidArgument("has {} dimensions, but layout {} takes [N, K] or [E, N, K]", shape.size(), name);
    }
    if (!(is_panel ? IsPanelDType(dtype) : IsFragmentDType(dtype))) {
      return InvalidArgument("is {}, but layout {} holds {}", DTypeName(dtype), name,
                             is_panel ? "f32, bf16, f8e4m3 or i8" : "bf16 or f8e4m3");
    }
    // Padded rows times padded depth; each padding adds less than 32, so neither addition can overflow here.
    const int64_t stack = shape.size() == 3 ? shape[0] : 1;
    const int64_t rows = RoundUpToPanels(shape[shape.size() - 2]);
    const int64_t depth = is_panel ? PanelDepth(dtype, shape.back()) : FragmentDepth(dtype, shape.back());
    if (__builtin_mul_overflow(rows, depth, &elements) || __builtin_mul_overflow(elements, stack, &elements)) {
      return InvalidArgument("has shape [{}], more than 2^63 elements when packed", fmt::join(shape, ", "));
    }
  }
  int64_t bytes = 0;
  if (__builtin_mul_overflow(elements, SizeOf(dtype), &bytes)) {
    return InvalidArgument("has shape [{}], more than 2^63 bytes of {}", fmt::join(shape, ", "), DTypeName(dtype));
  }
  return bytes;
}

}  // namespace nemotron::runtime
