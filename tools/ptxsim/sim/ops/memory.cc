// ld, st and hints about caches: PTX ISA 9.0, section 9.7.9.
#include <algorithm>
#include <atomic>
#include <cstring>

#include "tools/ptxsim/sim/access.h"
#include "tools/ptxsim/sim/block.h"
#include "tools/ptxsim/sim/decoder.h"
#include "tools/ptxsim/sim/lanes.h"
#include "tools/ptxsim/sim/ops/memory_ops.h"

namespace nemotron::ptxsim {

MemoryModifiers TakeMemoryModifiers(Decoder& d) {
  MemoryModifiers modifiers;
  const bool does_both = d.Take("acq_rel");
  modifiers.acquires = does_both || d.Take("acquire");
  modifiers.releases = does_both || d.Take("release");
  modifiers.strong =
      modifiers.acquires || modifiers.releases || d.Take("volatile") || d.Take("relaxed") || d.Take("mmio");
  modifiers.is_of_block = d.Take("cta") || d.Take("cluster");
  d.TakeHints({"weak", "gpu", "sys"});                            // scopes: one memory, always coherent
  d.TakeHints({"ca", "cg", "cs", "lu", "cv", "wb", "wt", "nc"});  // which caches to use
  d.TakeHints({"unified"});
  d.TakePrefixed("L1::");
  d.TakePrefixed("L2::");
  constexpr AccessSpace kSpaces[] = {AccessSpace::kGlobal,    AccessSpace::kGlobal,   AccessSpace::kShared,
                                     AccessSpace::kShared,    AccessSpace::kLocal,    AccessSpace::kParameter,
                                     AccessSpace::kParameter, AccessSpace::kParameter};
  const int space =
      d.TakeOneOf({"global", "const", "shared", "shared::cta", "local", "param", "param::entry", "param::func"});
  modifiers.space = space < 0 ? AccessSpace::kGeneric : kSpaces[space];
  return modifiers;
}

void SetMemoryOptions(Op& op, const MemoryModifiers& modifiers, const Decoder::AddressSource& address) {
  op.immediate = address.offset;
  op.options[0] = static_cast<uint8_t>(modifiers.space);
  op.options[1] = address.is_32bit;
  op.options[2] = modifiers.strong;
  op.options[3] = modifiers.releases;
  op.options[4] = modifiers.acquires;
  op.options[5] = modifiers.is_of_block;
}

void StartAccess(Warp& warp, const Op& op, uint32_t mask, AccessKind kind, uint32_t size_bytes, uint32_t address_row,
                 Access& access) {
  access.kind = kind;
  access.space = static_cast<AccessSpace>(op.options[0]);
  access.strong = op.options[2] || kind == AccessKind::kAtomic;
  access.size_bytes = size_bytes;
  access.mask = mask;
  ReadAddresses(warp, address_row, op.options[1], op.immediate, access);
}

namespace {

using Bits128 = unsigned __int128;

/// Strong accesses are atomic between the threads of the host too, element by element, as on a GPU.
template <typename T>
T ReadElement(std::byte* bytes, bool strong) {
  if constexpr (sizeof(T) <= 8) {
    if (strong) {
      return std::atomic_ref<T>(*reinterpret_cast<T*>(bytes)).load(std::memory_order_acquire);
    }
  }
  T value;
  std::memcpy(&value, bytes, sizeof(T));
  return value;
}
template <typename T>
void WriteElement(std::byte* bytes, T value, bool strong) {
  if constexpr (sizeof(T) <= 8) {
    if (strong) {
      return std::atomic_ref<T>(*reinterpret_cast<T*>(bytes)).store(value, std::memory_order_release);
    }
  }
  std::memcpy(bytes, &value, sizeof(T));
}

/// Loads `kCount` values T into rows of R. Rows: results, address.
template <typename T, typename R, int kCount>
Flow Load(Warp& warp, const Op& op, uint32_t mask) {
  Access access;
  StartAccess(warp, op, mask, AccessKind::kLoad, sizeof(T) * kCount, op.rows[kCount], access);
  if (!Resolve(warp, op, access)) {
    return Flow::kStop;
  }
  if (kCount == 1 && access.contiguous && !access.strong && sizeof(T) == sizeof(R)) {
    std::memcpy(warp.Row<R>(op.rows[0]), access.host[0], sizeof(R) * kWarpSize);
    return Flow::kNext;
  }
  ForEachLane(mask, [&](int lane) {
    for (int i = 0; i < kCount; ++i) {
      const T value = ReadElement<T>(access.host[lane] + static_cast<size_t>(i) * sizeof(T), access.strong);
      warp.Row<R>(op.rows[i])[lane] = static_cast<R>(value);
    }
  });
  return Flow::kNext;
}

/// Rows: address, values.
template <typename T, typename R, int kCount>
Flow Store(Warp& warp, const Op& op, uint32_t mask) {
  Access access;
  StartAccess(warp, op, mask, AccessKind::kStore, sizeof(T) * kCount, op.rows[0], access);
  if (!Resolve(warp, op, access)) {
    return Flow::kStop;
  }
  if (kCount == 1 && access.contiguous && !access.strong && sizeof(T) == sizeof(R)) {
    std::memcpy(access.host[0], warp.Row<R>(op.rows[1]), sizeof(R) * kWarpSize);
    return Flow::kNext;
  }
  std::array<T, kCount * kWarpSize> values;
  ForEachLane(mask, [&](int lane) {
    for (int i = 0; i < kCount; ++i) {
      T& value = values[static_cast<size_t>(lane * kCount + i)];
      value = static_cast<T>(warp.Row<R>(op.rows[1 + i])[lane]);
      WriteElement(access.host[lane] + static_cast<size_t>(i) * sizeof(T), value, access.strong);
    }
  });
  return CheckStored(warp, op, access, reinterpret_cast<const std::byte*>(values.data())) ? Flow::kNext : Flow::kStop;
}

struct Transfer {
  Handler load, store;
};

template <typename T, typename R>
Transfer PickCount(int count) {
  if (count == 1) {
    return {&Load<T, R, 1>, &Store<T, R, 1>};
  }
  if constexpr (sizeof(T) <= 8) {
    if (count == 2) {
      return {&Load<T, R, 2>, &Store<T, R, 2>};
    }
  }
  if constexpr (sizeof(T) <= 4) {
    if (count == 4) {
      return {&Load<T, R, 4>, &Store<T, R, 4>};
    }
  }
  return {};
}

/// Registers may be wider than the type; loads extend by zeros or sign.
template <typename T>
Transfer PickRegister(int count, int slot_bytes) {
  if constexpr (sizeof(T) < 8) {
    using Narrow = std::conditional_t<std::is_signed_v<T>, int32_t, uint32_t>;
    using Wide = std::conditional_t<std::is_signed_v<T>, int64_t, uint64_t>;
    return slot_bytes == 4 ? PickCount<T, Narrow>(count) : slot_bytes == 8 ? PickCount<T, Wide>(count) : Transfer{};
  } else {
    return slot_bytes == static_cast<int>(sizeof(T)) ? PickCount<T, T>(count) : Transfer{};
  }
}

Transfer PickTransfer(Format format, int count, int slot_bytes) {
  switch (BytesOf(format)) {
    case 1:
      return IsSigned(format) ? PickRegister<int8_t>(count, slot_bytes) : PickRegister<uint8_t>(count, slot_bytes);
    case 2:
      return IsSigned(format) ? PickRegister<int16_t>(count, slot_bytes) : PickRegister<uint16_t>(count, slot_bytes);
    case 4:
      return IsSigned(format) ? PickRegister<int32_t>(count, slot_bytes) : PickRegister<uint32_t>(count, slot_bytes);
    case 8:
      return PickRegister<uint64_t>(count, slot_bytes);
    case 16:
      return PickRegister<Bits128>(count, slot_bytes);
    default:
      return {};
  }
}

int TakeVector(Decoder& d) {
  const int vector = d.TakeOneOf({"v2", "v4"});
  return vector < 0 ? 1 : 2 << vector;
}

Format BitsOf(int slot_bytes) {
  return slot_bytes == 4 ? Format::kB32 : slot_bytes == 8 ? Format::kB64 : Format::kB128;
}

/// The policy operand of `.L2::cache_hint` is a hint like the rest.
void TakePolicy(Decoder& d, size_t index) {
  if (d.num_operands() > index) {
    d.Source(index, Format::kB64);
  }
}

void DecodeLoad(Decoder& d) {
  d.CountAs(InstructionClass::kMemory);
  const MemoryModifiers modifiers = TakeMemoryModifiers(d);
  const int count = TakeVector(d);
  const Format format = d.TakeFormat();
  const auto elements = d.Elements(0);
  if (static_cast<int>(elements.size()) != count) {
    return d.Fail(fmt::format("expected {} results, found {}", count, elements.size()));
  }
  int slot_bytes = 0;
  for (const Operand* element : elements) {
    slot_bytes = std::max(slot_bytes, d.SlotBytes(*element));
  }
  slot_bytes = slot_bytes == 0 ? SlotBytesOf(format) : slot_bytes;
  std::vector<uint32_t> results;
  for (const Operand* element : elements) {
    results.push_back(d.Result(*element, BitsOf(slot_bytes)));
  }
  const auto address = d.Address(1);
  TakePolicy(d, 2);
  SetMemoryOptions(d.Emit(PickTransfer(format, count, slot_bytes).load, results, std::span(&address.row, 1)), modifiers,
                   address);
}

void DecodeStore(Decoder& d) {
  d.CountAs(InstructionClass::kMemory);
  const MemoryModifiers modifiers = TakeMemoryModifiers(d);
  const int count = TakeVector(d);
  const Format format = d.TakeFormat();
  const auto address = d.Address(0);
  const auto elements = d.Elements(1);
  if (static_cast<int>(elements.size()) != count) {
    return d.Fail(fmt::format("expected {} values, found {}", count, elements.size()));
  }
  std::vector<uint32_t> sources = {address.row};
  for (const Operand* element : elements) {
    sources.push_back(d.WideSource(*element, format));
  }
  TakePolicy(d, 2);
  SetMemoryOptions(d.Emit(PickTransfer(format, count, SlotBytesOf(format)).store, {}, sources), modifiers, address);
}

Flow DoNothing(Warp&, const Op&, uint32_t) { return Flow::kNext; }

/// prefetch, prefetchu, discard and applypriority: the simulator has no caches. Their address may lie anywhere.
void DecodeCacheHint(Decoder& d) {
  d.CountAs(InstructionClass::kMemory);
  d.TakeHints({"global", "local", "const", "param", "tensormap", "L1", "L2"});
  d.TakePrefixed("L2::");
  const auto address = d.Address(0);
  if (d.num_operands() > 1) {
    d.Constant(1);
  }
  d.Emit(&DoNothing, {}, {address.row});
}

/// A policy for hints: any value will do.
void DecodeCreatePolicy(Decoder& d) {
  d.TakeHints({"fractional", "range", "cvt", "global"});
  d.TakePrefixed("L2");
  const Format format = d.TakeFormat();
  for (size_t i = 1; i < d.num_operands(); ++i) {
    d.operand(i);
  }
  d.Emit(kLaneMap<[](uint64_t a) -> uint64_t { return a; }>, {d.Result(0, format)}, {d.ConstantRow(0, 8)});
}

constexpr OpcodeEntry kOpcodes[] = {
    {"ld", std::nullopt, DecodeLoad},
    {"ldu", std::nullopt, DecodeLoad},
    {"st", std::nullopt, DecodeStore},
    {"prefetch", std::nullopt, DecodeCacheHint},
    {"prefetchu", std::nullopt, DecodeCacheHint},
    {"discard", std::nullopt, DecodeCacheHint},
    {"applypriority", std::nullopt, DecodeCacheHint},
    {"createpolicy", std::nullopt, DecodeCreatePolicy},
};

}  // namespace

std::span<const OpcodeEntry> MemoryOpcodes() { return kOpcodes; }

}  // namespace nemotron::ptxsim
