#ifndef TOOLS_PTXSIM_SIM_LANES_H_
#define TOOLS_PTXSIM_SIM_LANES_H_

#include <bit>
#include <cstdint>
#include <tuple>
#include <type_traits>
#include <utility>

#include "tools/ptxsim/sim/format.h"
#include "tools/ptxsim/sim/warp.h"

namespace nemotron::ptxsim {

/// The element of a row that holds a value of type T: narrow integers lie in 32 bits, zero-extended.
template <typename T>
using Stored = std::conditional_t<std::is_integral_v<T> && sizeof(T) < 4, uint32_t, T>;

/// One source of `LaneMap`: a row, or the bits of a predicate.
template <typename T>
struct SourceLanes {
  const Stored<T>* row;
  SourceLanes(Warp& warp, uint32_t offset) : row(warp.Row<Stored<T>>(offset)) {}
  T operator[](int lane) const { return static_cast<T>(row[lane]); }
};
template <>
struct SourceLanes<bool> {
  uint32_t mask;
  SourceLanes(Warp& warp, uint32_t offset) : mask(warp.Predicate(offset)) {}
  bool operator[](int lane) const { return mask >> lane & 1; }
};

template <typename T>
Stored<T> ToStored(T value) {
  if constexpr (std::is_integral_v<T> && sizeof(T) < 4) {
    return static_cast<std::make_unsigned_t<T>>(value);
  } else {
    return value;
  }
}

template <auto fn, typename Result, typename... Sources, size_t... kIndex>
Flow MapLanes(Warp& warp, const Op& op, uint32_t mask, Result (*)(Sources...), std::index_sequence<kIndex...>) {
  [[maybe_unused]] const auto sources = std::make_tuple(SourceLanes<Sources>(warp, op.rows[1 + kIndex])...);
  if constexpr (std::is_same_v<Result, bool>) {
    uint32_t result = 0;
    for (int lane = 0; lane < kWarpSize; ++lane) {
      result |= static_cast<uint32_t>(fn(std::get<kIndex>(sources)[lane]...)) << lane;
    }
    uint32_t& predicate = warp.Predicate(op.rows[0]);
    predicate = (predicate & ~mask) | (result & mask);
  } else {
    Stored<Result>* result = warp.Row<Stored<Result>>(op.rows[0]);
    // A row is the same as another or apart from it, so that lanes never depend on each other.
    if (mask == kAllLanes) [[likely]] {
#pragma clang loop vectorize(assume_safety)
      for (int lane = 0; lane < kWarpSize; ++lane) {
        result[lane] = ToStored<Result>(fn(std::get<kIndex>(sources)[lane]...));
      }
    } else {
#pragma clang loop vectorize(assume_safety)
      for (int lane = 0; lane < kWarpSize; ++lane) {
        const Stored<Result> value = ToStored<Result>(fn(std::get<kIndex>(sources)[lane]...));
        result[lane] = mask >> lane & 1 ? value : result[lane];
      }
    }
  }
  return Flow::kNext;
}

template <auto fn, typename Result, typename... Sources>
constexpr Handler LaneHandler(Result (*)(Sources...)) {
  return [](Warp& warp, const Op& op, uint32_t mask) {
    return MapLanes<fn>(warp, op, mask, static_cast<Result (*)(Sources...)>(fn), std::index_sequence_for<Sources...>());
  };
}

/// The handler that applies a function of values to each lane: rows are its result and its arguments, in order. It runs
/// for lanes that are not active too, on whatever is there, and so must have no effect and no trap.
template <auto fn>
constexpr Handler kLaneMap = LaneHandler<fn>(+fn);

/// Calls `visit` for each lane of a mask.
template <typename Visit>
void ForEachLane(uint32_t lanes, Visit visit) {
  for (; lanes; lanes &= lanes - 1) {
    visit(std::countr_zero(lanes));
  }
}

/// Calls `make.operator()<T>()` with the integer type of a format; null for other formats. Untyped bits are unsigned.
template <typename Make>
Handler ForInteger(Format format, Make make) {
  switch (format) {
    case Format::kB8:
    case Format::kU8:
      return make.template operator()<uint8_t>();
    case Format::kS8:
      return make.template operator()<int8_t>();
    case Format::kB16:
    case Format::kU16:
      return make.template operator()<uint16_t>();
    case Format::kS16:
      return make.template operator()<int16_t>();
    case Format::kB32:
    case Format::kU32:
      return make.template operator()<uint32_t>();
    case Format::kS32:
      return make.template operator()<int32_t>();
    case Format::kB64:
    case Format::kU64:
      return make.template operator()<uint64_t>();
    case Format::kS64:
      return make.template operator()<int64_t>();
    default:
      return nullptr;
  }
}

}  // namespace nemotron::ptxsim

#endif  // TOOLS_PTXSIM_SIM_LANES_H_
