#include "tools/ptxsim/sim/format.h"

#include <algorithm>
#include <array>

namespace nemotron::ptxsim {
namespace {

struct Entry {
  std::string_view name;
  Format format;
  FormatClass format_class;
  int bytes;
};

constexpr std::array kFormats = {
    Entry{"pred", Format::kPred, FormatClass::kPred, 0},      Entry{"b8", Format::kB8, FormatClass::kInteger, 1},
    Entry{"b16", Format::kB16, FormatClass::kInteger, 2},     Entry{"b32", Format::kB32, FormatClass::kInteger, 4},
    Entry{"b64", Format::kB64, FormatClass::kInteger, 8},     Entry{"b128", Format::kB128, FormatClass::kInteger, 16},
    Entry{"u8", Format::kU8, FormatClass::kInteger, 1},       Entry{"u16", Format::kU16, FormatClass::kInteger, 2},
    Entry{"u32", Format::kU32, FormatClass::kInteger, 4},     Entry{"u64", Format::kU64, FormatClass::kInteger, 8},
    Entry{"s8", Format::kS8, FormatClass::kInteger, 1},       Entry{"s16", Format::kS16, FormatClass::kInteger, 2},
    Entry{"s32", Format::kS32, FormatClass::kInteger, 4},     Entry{"s64", Format::kS64, FormatClass::kInteger, 8},
    Entry{"f16", Format::kF16, FormatClass::kHalf, 2},        Entry{"f16x2", Format::kF16x2, FormatClass::kHalf, 4},
    Entry{"bf16", Format::kBf16, FormatClass::kHalf, 2},      Entry{"bf16x2", Format::kBf16x2, FormatClass::kHalf, 4},
    Entry{"f32", Format::kF32, FormatClass::kFloat, 4},       Entry{"f64", Format::kF64, FormatClass::kFloat, 8},
    Entry{"tf32", Format::kTf32, FormatClass::kOther, 4},     Entry{"e4m3", Format::kE4m3, FormatClass::kOther, 1},
    Entry{"e5m2", Format::kE5m2, FormatClass::kOther, 1},     Entry{"e4m3x2", Format::kE4m3x2, FormatClass::kOther, 2},
    Entry{"e5m2x2", Format::kE5m2x2, FormatClass::kOther, 2},
};

const Entry& Find(Format format) { return *std::ranges::find(kFormats, format, &Entry::format); }

}  // namespace

std::optional<Format> ParseFormat(std::string_view modifier) {
  const auto* entry = std::ranges::find(kFormats, modifier, &Entry::name);
  return entry == kFormats.end() ? std::nullopt : std::optional(entry->format);
}

FormatClass ClassOf(Format format) { return format == Format::kNone ? FormatClass::kOther : Find(format).format_class; }

int BytesOf(Format format) { return format == Format::kNone ? 0 : Find(format).bytes; }

int SlotBytesOf(Type type) { return type == Type::kPred ? 0 : std::max(SizeOf(type), 4); }

bool IsSigned(Format format) { return format >= Format::kS8 && format <= Format::kS64; }

}  // namespace nemotron::ptxsim
