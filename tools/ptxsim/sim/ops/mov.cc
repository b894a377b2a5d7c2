// mov, special registers, addresses between state spaces: PTX ISA 9.0, sections 9.7.9.1, 9.7.9.20, 9.7.9.19 and 10.
#include <algorithm>
#include <chrono>

#include "tools/ptxsim/sim/block.h"
#include "tools/ptxsim/sim/decoder.h"
#include "tools/ptxsim/sim/lanes.h"

namespace nemotron::ptxsim {
namespace {

using Bits128 = unsigned __int128;

template <typename T>
constexpr Handler kCopy = kLaneMap<[](T a) -> T { return a; }>;

Flow Copy128(Warp& warp, const Op& op, uint32_t mask) {
  const auto* source = warp.Row<Bits128>(op.rows[1]);
  auto* result = warp.Row<Bits128>(op.rows[0]);
  ForEachLane(mask, [&](int lane) { result[lane] = source[lane]; });
  return Flow::kNext;
}

Flow CopyPredicate(Warp& warp, const Op& op, uint32_t mask) {
  uint32_t& result = warp.Predicate(op.rows[0]);
  result = (result & ~mask) | (warp.Predicate(op.rows[1]) & mask);
  return Flow::kNext;
}

Handler CopyHandler(int slot_bytes) {
  return slot_bytes == 4 ? kCopy<uint32_t> : slot_bytes == 8 ? kCopy<uint64_t> : &Copy128;
}

template <int kBytes>
using Word = std::conditional_t<kBytes == 16, Bits128, std::conditional_t<kBytes == 8, uint64_t, uint32_t>>;

/// Parts of a value, the first lowest. Rows: the parts, then the value.
template <int kPartBytes, int kParts>
Flow Unpack(Warp& warp, const Op& op, uint32_t mask) {
  const auto* source = warp.Row<Word<kPartBytes * kParts>>(op.rows[kParts]);
  ForEachLane(mask, [&](int lane) {
    const auto value = source[lane];
    for (int i = 0; i < kParts; ++i) {
      const auto part = static_cast<Word<kPartBytes>>(value >> (8 * kPartBytes * i));
      warp.Row<Word<kPartBytes>>(op.rows[i])[lane] =
          kPartBytes < 4 ? part & ((Word<kPartBytes>{1} << (8 * kPartBytes % 32)) - 1) : part;
    }
  });
  return Flow::kNext;
}

/// Rows: the value, then its parts.
template <int kPartBytes, int kParts>
Flow Pack(Warp& warp, const Op& op, uint32_t mask) {
  using Whole = Word<kPartBytes * kParts>;
  auto* result = warp.Row<Whole>(op.rows[0]);
  ForEachLane(mask, [&](int lane) {
    Whole value = 0;
    for (int i = 0; i < kParts; ++i) {
      Whole part = warp.Row<Word<kPartBytes>>(op.rows[1 + i])[lane];
      if constexpr (kPartBytes < 4) {
        part &= (Whole{1} << (8 * kPartBytes)) - 1;
      }
      value |= part << (8 * kPartBytes * i);
    }
    result[lane] = value;
  });
  return Flow::kNext;
}

struct Packing {
  int part_bytes, parts;
  Handler pack, unpack;
};
template <int kPartBytes, int kParts>
constexpr Packing kPacking = {kPartBytes, kParts, &Pack<kPartBytes, kParts>, &Unpack<kPartBytes, kParts>};
constexpr Packing kPackings[] = {kPacking<1, 2>, kPacking<1, 4>, kPacking<2, 2>, kPacking<2, 4>,
                                 kPacking<4, 2>, kPacking<4, 4>, kPacking<8, 2>};

Format BitsOfSize(int bytes) {
  switch (bytes) {
    case 1:
      return Format::kB8;
    case 2:
      return Format::kB16;
    case 4:
      return Format::kB32;
    case 8:
      return Format::kB64;
    default:
      return Format::kB128;
  }
}

void EmitPacking(Decoder& d, Format format, bool packs) {
  const auto parts = d.Elements(packs ? 1 : 0);
  const int part_bytes = BytesOf(format) / static_cast<int>(parts.size());
  const auto* packing = std::ranges::find_if(kPackings, [&](const Packing& p) {
    return p.parts == static_cast<int>(parts.size()) && p.part_bytes == part_bytes;
  });
  if (packing == std::end(kPackings)) {
    return d.Fail("the simulator does not have this packing");
  }
  std::vector<uint32_t> rows;
  for (const Operand* part : parts) {
    rows.push_back(packs ? d.Source(*part, BitsOfSize(part_bytes)) : d.Result(*part, BitsOfSize(part_bytes)));
  }
  if (packs) {
    const uint32_t result = d.Result(0, format);
    d.Emit(packing->pack, std::span(&result, 1), rows);
  } else {
    const uint32_t source = d.Source(1, format);
    d.Emit(packing->unpack, rows, std::span(&source, 1));
  }
}

void DecodeMov(Decoder& d) {
  const Format format = d.TakeFormat();
  const Operand& result = d.operand(0);
  const Operand& source = d.operand(1);
  if (format == Format::kPred) {
    const auto predicate = d.Predicate(source);
    d.Emit(predicate.negated ? nullptr : &CopyPredicate, {d.Result(0, format)}, {predicate.row});
    return;
  }
  if (std::holds_alternative<OperandList>(source.value)) {
    return EmitPacking(d, format, /*packs=*/true);
  }
  if (std::holds_alternative<OperandList>(result.value)) {
    return EmitPacking(d, format, /*packs=*/false);
  }
  if (const auto* special = std::get_if<SpecialRef>(&source.value)) {
    int slot_bytes = 4;
    const Handler handler = SpecialRegisterHandler(special->name, &slot_bytes);
    if (!handler || slot_bytes != BytesOf(format)) {
      return d.Fail(fmt::format("the simulator does not have the special register '{}' of this size", special->name));
    }
    d.Emit(handler, {d.Result(0, format)}, {});
    return;
  }
  const uint32_t row = std::holds_alternative<Address>(source.value) ? d.Address(1).row : d.Source(1, format);
  d.Emit(CopyHandler(SlotBytesOf(format)), {d.Result(0, format)}, {row});
}

template <typename T, auto value>
Flow ReadSpecial(Warp& warp, const Op& op, uint32_t mask) {
  T* result = warp.Row<T>(op.rows[0]);
  ForEachLane(mask, [&](int lane) { result[lane] = static_cast<T>(value(warp, lane)); });
  return Flow::kNext;
}

template <int kAxis>
constexpr auto kTid = [](Warp& warp, int lane) { return warp.block().ThreadCoordinates(warp.ThreadOf(lane))[kAxis]; };
template <int kAxis>
constexpr auto kNtid = [](Warp& warp, int) { return warp.block().launch().config.block[kAxis]; };
template <int kAxis>
constexpr auto kCtaid = [](Warp& warp, int) { return warp.block().coordinates()[kAxis]; };
template <int kAxis>
constexpr auto kNctaid = [](Warp& warp, int) { return warp.block().launch().config.grid[kAxis]; };
template <uint32_t kValue>
constexpr auto kSpecialConstant = [](Warp&, int) { return kValue; };
/// Clocks count instructions: results do not depend on the host's speed.
constexpr auto kClock = [](Warp& warp, int) {
  uint64_t count = 0;
  for (uint64_t of_class : warp.block().counters().instructions) {
    count += of_class;
  }
  return count;
};
constexpr auto kGlobalTimer = [](Warp&, int) {
  return static_cast<uint64_t>(std::chrono::steady_clock::now().time_since_epoch() / std::chrono::nanoseconds(1));
};

struct Special {
  std::string_view name;
  Handler handler;
  int slot_bytes = 4;
};
template <auto value>
constexpr Handler kRead32 = &ReadSpecial<uint32_t, value>;
template <auto value>
constexpr Handler kRead64 = &ReadSpecial<uint64_t, value>;

constexpr Special kSpecials[] = {
    {"%tid.x", kRead32<kTid<0>>},
    {"%tid.y", kRead32<kTid<1>>},
    {"%tid.z", kRead32<kTid<2>>},
    {"%ntid.x", kRead32<kNtid<0>>},
    {"%ntid.y", kRead32<kNtid<1>>},
    {"%ntid.z", kRead32<kNtid<2>>},
    {"%ctaid.x", kRead32<kCtaid<0>>},
    {"%ctaid.y", kRead32<kCtaid<1>>},
    {"%ctaid.z", kRead32<kCtaid<2>>},
    {"%nctaid.x", kRead32<kNctaid<0>>},
    {"%nctaid.y", kRead32<kNctaid<1>>},
    {"%nctaid.z", kRead32<kNctaid<2>>},
    // Without clusters each block is a cluster of its own.
    {"%clusterid.x", kRead32<kCtaid<0>>},
    {"%clusterid.y", kRead32<kCtaid<1>>},
    {"%clusterid.z", kRead32<kCtaid<2>>},
    {"%nclusterid.x", kRead32<kNctaid<0>>},
    {"%nclusterid.y", kRead32<kNctaid<1>>},
    {"%nclusterid.z", kRead32<kNctaid<2>>},
    {"%cluster_ctaid.x", kRead32<kSpecialConstant<0>>},
    {"%cluster_ctaid.y", kRead32<kSpecialConstant<0>>},
    {"%cluster_ctaid.z", kRead32<kSpecialConstant<0>>},
    {"%cluster_nctaid.x", kRead32<kSpecialConstant<1>>},
    {"%cluster_nctaid.y", kRead32<kSpecialConstant<1>>},
    {"%cluster_nctaid.z", kRead32<kSpecialConstant<1>>},
    {"%cluster_ctarank", kRead32<kSpecialConstant<0>>},
    {"%cluster_nctarank", kRead32<kSpecialConstant<1>>},
    {"%laneid", kRead32<[](Warp&, int lane) { return lane; }>},
    {"%warpid", kRead32<[](Warp& warp, int) { return warp.index(); }>},
    {"%nwarpid", kRead32<[](Warp& warp, int) { return warp.block().num_warps(); }>},
    {"%lanemask_eq", kRead32<[](Warp&, int lane) { return uint32_t{1} << lane; }>},
    {"%lanemask_lt", kRead32<[](Warp&, int lane) { return (uint32_t{1} << lane) - 1; }>},
    {"%lanemask_le", kRead32<[](Warp&, int lane) { return (uint32_t{2} << lane) - 1; }>},
    {"%lanemask_gt", kRead32<[](Warp&, int lane) { return ~((uint32_t{2} << lane) - 1); }>},
    {"%lanemask_ge", kRead32<[](Warp&, int lane) { return ~((uint32_t{1} << lane) - 1); }>},
    {"%clock", kRead32<kClock>},
    {"%clock_hi", kRead32<[](Warp& warp, int lane) { return kClock(warp, lane) >> 32; }>},
    {"%clock64", kRead64<kClock>, 8},
    {"%globaltimer", kRead64<kGlobalTimer>, 8},
    {"%globaltimer_lo", kRead32<kGlobalTimer>},
    {"%globaltimer_hi", kRead32<[](Warp& warp, int lane) { return kGlobalTimer(warp, lane) >> 32; }>},
    {"%smid", kRead32<[](Warp& warp, int) {
       return warp.block().index() % static_cast<uint64_t>(warp.block().launch().gpu.num_sms);
     }>},
    {"%nsmid", kRead32<[](Warp& warp, int) { return warp.block().launch().gpu.num_sms; }>},
    {"%gridid", kRead64<[](Warp& warp, int) { return warp.block().launch().launch_number; }>, 8},
    {"%dynamic_smem_size", kRead32<[](Warp& warp, int) { return warp.block().launch().config.dynamic_shared_bytes; }>},
    {"%total_smem_size", kRead32<[](Warp& warp, int) { return warp.block().shared_bytes(); }>},
};

enum class Window { kGlobal, kConst, kShared, kLocal, kParam };

Window TakeWindow(Decoder& d) {
  int window = d.TakeOneOf({"global", "const", "shared", "local", "param"});
  if (d.Take("shared::cta")) {
    window = static_cast<int>(Window::kShared);
  }
  if (d.Take("param::entry")) {
    window = static_cast<int>(Window::kParam);
  }
  if (window < 0) {
    d.Fail("expected a state space");
  }
  return static_cast<Window>(std::max(window, 0));
}

/// Addresses of all spaces but shared are generic ones already (address_space.h).
void DecodeCvta(Decoder& d) {
  const bool to_space = d.Take("to");
  const Window window = TakeWindow(d);
  const Format format = d.TakeFormat();
  if (format != Format::kU64) {
    return d.Fail("generic addresses have 64 bits");
  }
  constexpr Handler kFromShared = kLaneMap<[](uint64_t a) -> uint64_t { return a | kSharedWindow; }>;
  constexpr Handler kToShared = kLaneMap<[](uint64_t a) -> uint64_t { return a & kOffsetMask; }>;
  const uint32_t row = std::holds_alternative<Address>(d.operand(1).value) ? d.Address(1).row : d.Source(1, format);
  const Handler handler = window != Window::kShared ? kCopy<uint64_t> : to_space ? kToShared : kFromShared;
  d.Emit(handler, {d.Result(0, format)}, {row});
}

template <uint64_t kNumber>
constexpr Handler kIsInWindow = kLaneMap<[](uint64_t a) -> bool {
  const uint64_t number = a >> kOffsetBits;
  return kNumber == 0 ? number >= kFirstAllocationNumber : number == kNumber;
}>;

void DecodeIsspacep(Decoder& d) {
  const Window window = TakeWindow(d);
  Handler handler = nullptr;
  switch (window) {
    case Window::kGlobal:
      handler = kIsInWindow<0>;
      break;
    case Window::kShared:
      handler = kIsInWindow<kSharedNumber>;
      break;
    case Window::kLocal:
      handler = kIsInWindow<kLocalNumber>;
      break;
    case Window::kParam:
      handler = kIsInWindow<kParameterNumber>;
      break;
    case Window::kConst:
      break;  // const variables lie in global memory
  }
  d.Emit(handler, {d.Result(0, Format::kPred)}, {d.Source(1, Format::kU64)});
}

constexpr OpcodeEntry kOpcodes[] = {
    {"mov", std::nullopt, DecodeMov},
    {"cvta", std::nullopt, DecodeCvta},
    {"isspacep", std::nullopt, DecodeIsspacep},
};

Flow ReadLocalAddress(Warp& warp, const Op& op, uint32_t mask) {
  auto* result = warp.Row<uint64_t>(op.rows[0]);
  const uint64_t address = static_cast<uint64_t>(op.immediate) + (warp.depth() << kFrameBits);
  ForEachLane(mask, [&](int lane) { result[lane] = address; });
  return Flow::kNext;
}

}  // namespace

std::span<const OpcodeEntry> MovOpcodes() { return kOpcodes; }

Handler SpecialRegisterHandler(std::string_view name, int* slot_bytes) {
  const auto* special = std::ranges::find(kSpecials, name, &Special::name);
  if (special == std::end(kSpecials)) {
    return nullptr;
  }
  *slot_bytes = special->slot_bytes;
  return special->handler;
}

Handler DynamicSharedHandler(int slot_bytes) {
  constexpr auto kBegin = [](Warp& warp, int) { return warp.block().dynamic_shared_begin(); };
  return slot_bytes == 4 ? kRead32<kBegin> : kRead64<kBegin>;
}

Handler LocalAddressHandler() { return &ReadLocalAddress; }

Handler LowHalfHandler() {
  return kLaneMap<[](uint64_t a) -> uint32_t { return static_cast<uint32_t>(a); }>;
}

}  // namespace nemotron::ptxsim
