// atom and red: PTX ISA 9.0, sections 9.7.13.7 and 9.7.13.8. Updates of global memory are atomic between the threads of
// the host that run blocks; so the order of blocks is not fixed, and sums of floats are not deterministic, as on a GPU.
#include <algorithm>
#include <atomic>
#include <cstring>
#include <mutex>

#include "tools/ptxsim/sim/access.h"
#include "tools/ptxsim/sim/address_space.h"
#include "tools/ptxsim/sim/block.h"
#include "tools/ptxsim/sim/decoder.h"
#include "tools/ptxsim/sim/floating.h"
#include "tools/ptxsim/sim/lanes.h"
#include "tools/ptxsim/sim/ops/memory_ops.h"

namespace nemotron::ptxsim {
namespace {

/// Replaces the value at `bytes` by what `update` makes of it; returns the old one.
template <typename T, typename Update>
T AtomicUpdate(std::byte* bytes, Update update) {
  std::atomic_ref<T> value(*reinterpret_cast<T*>(bytes));
  T old = value.load(std::memory_order_relaxed);
  while (!value.compare_exchange_weak(old, update(old), std::memory_order_acq_rel, std::memory_order_relaxed)) {
  }
  return old;
}

/// Calls update(lane) for the lanes of an atomic, and tells what it does to the order of blocks (block_order.h).
template <typename Update>
void UpdateEach(Warp& warp, const Op& op, const Access& access, bool observes, Update update) {
  LaunchState& launch = warp.block().launch();
  const bool releases = op.options[3], acquires = op.options[4], is_of_block = op.options[5];
  const bool orders = launch.checks.races && access.space != AccessSpace::kShared && !is_of_block;
  if (orders && releases) {
    warp.Release(access.mask);
  }
  {
    std::unique_lock lock(launch.releases.mutex, std::defer_lock);
    if (orders) {
      lock.lock();
    }
    ForEachLane(access.mask, [&](int lane) {
      if (orders && IsGlobal(access.address[lane])) {
        warp.block().order().Update(launch.releases, warp.ThreadOf(lane), access.address[lane], observes);
      }
      update(lane);
    });
  }
  if (orders && acquires) {
    warp.Acquire(access.mask);
  }
}

/// atom: rows result, address, b, c. red: rows address, b. T is the untyped word, `fn` a function of words.
template <typename T, auto fn, bool kReturns>
Flow Atomic(Warp& warp, const Op& op, uint32_t mask) {
  const uint32_t* sources = op.rows + (kReturns ? 1 : 0);
  Access access;
  StartAccess(warp, op, mask, AccessKind::kAtomic, sizeof(T), sources[0], access);
  if (!Resolve(warp, op, access)) {
    return Flow::kStop;
  }
  const auto* b = warp.Row<Stored<T>>(sources[1]);
  const auto* c = warp.Row<Stored<T>>(sources[kReturns ? 2 : 1]);
  std::array<T, kWarpSize> old;
  UpdateEach(warp, op, access, /*observes=*/kReturns, [&](int lane) {
    old[lane] = AtomicUpdate<T>(access.host[lane],
                                [&](T value) { return fn(value, static_cast<T>(b[lane]), static_cast<T>(c[lane])); });
  });
  if constexpr (kReturns) {
    auto* result = warp.Row<Stored<T>>(op.rows[0]);
    ForEachLane(mask, [&](int lane) { result[lane] = old[lane]; });
  }
  return Flow::kNext;
}

struct Handlers {
  Handler atom = nullptr, red = nullptr;
};
template <typename T, auto fn>
constexpr Handlers kAtomic = {&Atomic<T, fn, true>, &Atomic<T, fn, false>};

/// Functions of words of the size of T.
template <typename T, auto fn>
constexpr auto kOnBits = [](std::conditional_t<sizeof(T) == 8, uint64_t, uint32_t> a,
                            std::conditional_t<sizeof(T) == 8, uint64_t, uint32_t> b,
                            std::conditional_t<sizeof(T) == 8, uint64_t, uint32_t>) {
  return std::bit_cast<std::conditional_t<sizeof(T) == 8, uint64_t, uint32_t>>(
      static_cast<T>(fn(std::bit_cast<T>(a), std::bit_cast<T>(b))));
};
template <typename T, auto fn>
constexpr Handlers kTyped = kAtomic<std::conditional_t<sizeof(T) == 8, uint64_t, uint32_t>, kOnBits<T, fn>>;

template <typename T>
Handlers MinMax(bool is_max) {
  return is_max ? kTyped<T, [](T a, T b) { return std::max(a, b); }>
                : kTyped<T, [](T a, T b) { return std::min(a, b); }>;
}

template <typename U>
Handlers BitOperation(std::string_view operation) {
  if (operation == "and") {
    return kTyped<U, [](U a, U b) { return a & b; }>;
  }
  if (operation == "or") {
    return kTyped<U, [](U a, U b) { return a | b; }>;
  }
  if (operation == "xor") {
    return kTyped<U, [](U a, U b) { return a ^ b; }>;
  }
  if (operation == "exch") {
    return kTyped<U, [](U, U b) { return b; }>;
  }
  return operation == "cas" ? kAtomic<U, [](U a, U b, U c) { return a == b ? c : a; }> : Handlers{};
}

uint16_t AddHalves(uint16_t a, uint16_t b) { return FloatToHalf(HalfToFloat(a) + HalfToFloat(b)); }
uint16_t AddBfloats(uint16_t a, uint16_t b) { return FloatToBfloat(BfloatToFloat(a) + BfloatToFloat(b)); }
template <auto add>
uint32_t AddPair(uint32_t a, uint32_t b) {
  auto half = [](uint32_t word, int shift) { return static_cast<uint16_t>(word >> shift); };
  return uint32_t{add(half(a, 16), half(b, 16))} << 16 | add(half(a, 0), half(b, 0));
}

/// f32 additions flush subnormal numbers to zero in global memory, but not in shared (section 9.7.13.7).
float AddFlushed(float a, float b) { return FlushToZero(Canonical(FlushToZero(a) + FlushToZero(b))); }

Handlers AddHandlers(Format format, bool is_shared) {
  switch (format) {
    case Format::kU32:
    case Format::kS32:
      return kTyped<uint32_t, [](uint32_t a, uint32_t b) { return a + b; }>;
    case Format::kU64:
    case Format::kS64:
      return kTyped<uint64_t, [](uint64_t a, uint64_t b) { return a + b; }>;
    case Format::kF32:
      return is_shared ? kTyped<float, [](float a, float b) { return Canonical(a + b); }> : kTyped<float, AddFlushed>;
    case Format::kF64:
      return kTyped<double, [](double a, double b) { return a + b; }>;
    case Format::kF16x2:
      return kTyped<uint32_t, AddPair<AddHalves>>;
    case Format::kBf16x2:
      return kTyped<uint32_t, AddPair<AddBfloats>>;
    case Format::kF16:
      return kAtomic<uint16_t, [](uint16_t a, uint16_t b, uint16_t) { return AddHalves(a, b); }>;
    case Format::kBf16:
      return kAtomic<uint16_t, [](uint16_t a, uint16_t b, uint16_t) { return AddBfloats(a, b); }>;
    default:
      return {};
  }
}

Handlers MinMaxHandlers(Format format, bool is_max) {
  switch (format) {
    case Format::kU32:
      return MinMax<uint32_t>(is_max);
    case Format::kS32:
      return MinMax<int32_t>(is_max);
    case Format::kU64:
      return MinMax<uint64_t>(is_max);
    case Format::kS64:
      return MinMax<int64_t>(is_max);
    default:
      return {};
  }
}

Handlers HandlersFor(std::string_view operation, Format format, bool is_shared) {
  if (operation == "add") {
    return AddHandlers(format, is_shared);
  }
  if (operation == "min" || operation == "max") {
    return MinMaxHandlers(format, operation == "max");
  }
  if (operation == "inc" && format == Format::kU32) {
    return kTyped<uint32_t, [](uint32_t a, uint32_t b) { return a >= b ? 0 : a + 1; }>;
  }
  if (operation == "dec" && format == Format::kU32) {
    return kTyped<uint32_t, [](uint32_t a, uint32_t b) { return a == 0 || a > b ? b : a - 1; }>;
  }
  const bool is_untyped = format == Format::kB32 || format == Format::kB64;
  if (format == Format::kB16 && operation == "cas") {
    return kAtomic<uint16_t, [](uint16_t a, uint16_t b, uint16_t c) { return a == b ? c : a; }>;
  }
  return !is_untyped              ? Handlers{}
         : format == Format::kB64 ? BitOperation<uint64_t>(operation)
                                  : BitOperation<uint32_t>(operation);
}

/// red.v2 and v4 of f32, sm_90: each element is atomic by itself. Rows: address, elements.
template <int kCount>
Flow ReduceVector(Warp& warp, const Op& op, uint32_t mask) {
  Access access;
  StartAccess(warp, op, mask, AccessKind::kAtomic, 4 * kCount, op.rows[0], access);
  if (!Resolve(warp, op, access)) {
    return Flow::kStop;
  }
  UpdateEach(warp, op, access, /*observes=*/false, [&](int lane) {
    for (int i = 0; i < kCount; ++i) {
      const float added = warp.Row<float>(op.rows[1 + i])[lane];
      AtomicUpdate<uint32_t>(access.host[lane] + 4 * i, [&](uint32_t old) {
        return std::bit_cast<uint32_t>(AddFlushed(std::bit_cast<float>(old), added));
      });
    }
  });
  return Flow::kNext;
}

void DecodeReduceVector(Decoder& d, const MemoryModifiers& modifiers, std::string_view operation, int count,
                        Format format) {
  d.Requires(90, "red of vectors");
  const auto address = d.Address(0);
  const auto elements = d.Elements(1);
  if (operation != "add" || format != Format::kF32 || modifiers.space == AccessSpace::kShared ||
      static_cast<int>(elements.size()) != count) {
    return d.Fail("the simulator does not have this vector reduction");
  }
  std::vector<uint32_t> sources = {address.row};
  for (const Operand* element : elements) {
    sources.push_back(d.Source(*element, format));
  }
  SetMemoryOptions(d.Emit(count == 2 ? &ReduceVector<2> : &ReduceVector<4>, {}, sources), modifiers, address);
}

template <bool kReturns>
void DecodeAtomic(Decoder& d) {
  d.CountAs(InstructionClass::kMemory);
  constexpr std::string_view kOperations[] = {"add", "min", "max", "exch", "cas", "inc", "dec", "and", "or", "xor"};
  const MemoryModifiers modifiers = TakeMemoryModifiers(d);
  std::string_view operation;
  for (std::string_view name : kOperations) {
    if (operation.empty() && d.Take(name)) {
      operation = name;
    }
  }
  d.Take("noftz");
  const int vector = d.TakeOneOf({"v2", "v4"});
  const Format format = d.TakeFormat();
  if (vector >= 0) {
    return kReturns ? d.Fail("the simulator does not have atom of vectors")
                    : DecodeReduceVector(d, modifiers, operation, 2 << vector, format);
  }
  const Handlers handlers = HandlersFor(operation, format, modifiers.space == AccessSpace::kShared);
  const auto address = d.Address(kReturns ? 1 : 0);
  const uint32_t b = d.Source(kReturns ? 2 : 1, format);
  if constexpr (kReturns) {
    const uint32_t c = operation == "cas" ? d.Source(3, format) : b;
    SetMemoryOptions(d.Emit(handlers.atom, {d.Result(0, format)}, {address.row, b, c}), modifiers, address);
  } else {
    const bool exists = operation != "exch" && operation != "cas";
    SetMemoryOptions(d.Emit(exists ? handlers.red : nullptr, {}, {address.row, b}), modifiers, address);
  }
}

constexpr OpcodeEntry kOpcodes[] = {
    {"atom", std::nullopt, DecodeAtomic<true>},
    {"red", std::nullopt, DecodeAtomic<false>},
};

}  // namespace

std::span<const OpcodeEntry> AtomicOpcodes() { return kOpcodes; }

}  // namespace nemotron::ptxsim
