#include "tools/ptxsim/ptx/declarations.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <string_view>
#include <utility>

namespace nemotron::ptxsim {
namespace {

using runtime::OkStatus;
using runtime::Status;
using runtime::StatusOr;

constexpr int64_t kMaxAlignBytes = 1 << 16;
constexpr int64_t kMaxVariableBytes = int64_t{1} << 40;
/// Of all initial values of a module: far above what a compiler emits, far below what would hurt a host.
constexpr int64_t kMaxInitializedBytes = 256 << 20;
constexpr int64_t kUnknownExtent = -1;

constexpr std::pair<std::string_view, Type> kTypes[] = {
    {".b32", Type::kB32},     {".b64", Type::kB64},   {".b8", Type::kB8},   {".b16", Type::kB16},
    {".pred", Type::kPred},   {".f32", Type::kF32},   {".u32", Type::kU32}, {".u64", Type::kU64},
    {".f64", Type::kF64},     {".u8", Type::kU8},     {".u16", Type::kU16}, {".s8", Type::kS8},
    {".s16", Type::kS16},     {".s32", Type::kS32},   {".s64", Type::kS64}, {".f16", Type::kF16},
    {".f16x2", Type::kF16x2}, {".b128", Type::kB128},
};

bool IsFloat(Type type) { return type == Type::kF32 || type == Type::kF64; }
bool IsHalf(Type type) { return type == Type::kF16 || type == Type::kF16x2; }

int64_t RoundUp(int64_t value, int64_t multiple) { return (value + multiple - 1) / multiple * multiple; }

}  // namespace

StatusOr<Type> DeclarationParser::ParseType() {
  if (reader_.Is(TokenKind::kDotted)) {
    for (const auto& [name, type] : kTypes) {
      if (reader_.token().text == name) {
        reader_.Next();
        return type;
      }
    }
  }
  return reader_.Unexpected("a type");
}

StatusOr<int64_t> DeclarationParser::ParseAlign() {
  const uint32_t line = reader_.line();
  ASSIGN_OR_RETURN(const int64_t align, reader_.ExpectSize("an alignment", kMaxAlignBytes));
  if (!std::has_single_bit(static_cast<uint64_t>(align))) {
    return ErrorAt(line, "an alignment of {} bytes, expected a power of two", align);
  }
  return align;
}

/// `.align 16 .v4 .f32`; whole vectors are aligned to their size.
StatusOr<DeclarationParser::Layout> DeclarationParser::ParseLayout() {
  Layout layout = {};
  layout.vector_size = 1;
  if (reader_.Is(".attribute")) {
    return UnsupportedAt(reader_.line(), "'.attribute', e.g. managed or unified memory, is not supported");
  }
  if (reader_.Accept(".align")) {
    ASSIGN_OR_RETURN(layout.align_bytes, ParseAlign());
  }
  if (reader_.Accept(".v2")) {
    layout.vector_size = 2;
  } else if (reader_.Accept(".v4")) {
    layout.vector_size = 4;
  }
  const uint32_t line = reader_.line();
  ASSIGN_OR_RETURN(layout.type, ParseType());
  if (layout.type == Type::kPred) {
    return ErrorAt(line, "a predicate in memory, expected a type that has bytes");
  }
  layout.element_bytes = SizeOf(layout.type) * layout.vector_size;
  layout.align_bytes = std::max(layout.align_bytes, layout.element_bytes);
  return layout;
}

StatusOr<DeclarationParser::Extents> DeclarationParser::ParseExtents() {
  Extents extents;
  while (reader_.Accept('[')) {
    int64_t extent = kUnknownExtent;
    if (!extents.empty() || !reader_.Is(']')) {
      ASSIGN_OR_RETURN(extent, reader_.ExpectSize("an array size", kMaxVariableBytes));
      if (extent == 0) {
        return ErrorAt(reader_.line(), "an array of 0 elements, expected at least 1");
      }
    }
    RETURN_IF_ERROR(reader_.Expect(']'));
    extents.push_back(extent);
    if (extents.size() > 8) {
      return UnsupportedAt(reader_.line(), "arrays of more than 8 dimensions are not supported");
    }
  }
  return extents;
}

/// 0 if an extent is unknown.
StatusOr<int64_t> DeclarationParser::SizeBytes(const Layout& layout, const Extents& extents) {
  int64_t size = layout.element_bytes;
  for (const int64_t extent : extents) {
    if (extent == kUnknownExtent) {
      continue;
    }
    if (size > kMaxVariableBytes / extent) {
      return UnsupportedAt(reader_.line(), "a variable of more than {} bytes", kMaxVariableBytes);
    }
    size *= extent;
  }
  return !extents.empty() && extents[0] == kUnknownExtent ? 0 : size;
}

Status DeclarationParser::ParseVariables(Space space, bool is_extern, std::vector<Variable>& variables) {
  ASSIGN_OR_RETURN(const Layout layout, ParseLayout());
  do {
    const uint32_t line = reader_.line();
    Variable variable;
    ASSIGN_OR_RETURN(variable.name, reader_.ExpectIdentifier("the name of a variable"));
    variable.space = space;
    variable.type = layout.type;
    variable.align_bytes = layout.align_bytes;
    variable.is_extern = is_extern;
    ASSIGN_OR_RETURN(const Extents extents, ParseExtents());
    ASSIGN_OR_RETURN(variable.size_bytes, SizeBytes(layout, extents));
    if (reader_.Is('=')) {
      if (is_extern || (space != Space::kGlobal && space != Space::kConst)) {
        return ErrorAt(line, "'{}' has an initial value, which only variables of .global and .const can have",
                       variable.name);
      }
      reader_.Next();
      RETURN_IF_ERROR(ParseInitializer(layout, extents, variable));
    } else if (!is_extern && !extents.empty() && extents[0] == kUnknownExtent) {
      return ErrorAt(line, "'{}' has no size, expected one unless it is .extern", variable.name);
    }
    variables.push_back(std::move(variable));
  } while (reader_.Accept(','));
  return reader_.Expect(';');
}

Status DeclarationParser::ParseInitializer(const Layout& layout, const Extents& extents, Variable& variable) {
  Extents all = extents;
  if (layout.vector_size > 1) {
    all.push_back(layout.vector_size);
  }
  RETURN_IF_ERROR(ReserveInitializer(variable.size_bytes, variable));
  if (all.empty()) {
    return ParseInitialValue(layout.type, 0, variable);
  }
  ASSIGN_OR_RETURN(const int64_t count, ParseInitializerList(layout, all, 0, 0, variable));
  if (all[0] == kUnknownExtent) {
    variable.size_bytes = static_cast<int64_t>(variable.initializer.size());
    if (count == 0) {
      return ErrorAt(reader_.line(), "'{}' has neither a size nor initial values", variable.name);
    }
  }
  return OkStatus();
}

StatusOr<int64_t> DeclarationParser::ParseInitializerList(const Layout& layout, const Extents& extents,
                                                          size_t dimension, int64_t offset, Variable& variable) {
  int64_t stride = SizeOf(layout.type);
  for (size_t i = dimension + 1; i < extents.size(); ++i) {
    stride *= extents[i];
  }
  RETURN_IF_ERROR(reader_.Expect('{'));
  int64_t count = 0;
  if (reader_.Accept('}')) {
    return count;
  }
  do {
    if (extents[dimension] == kUnknownExtent) {
      RETURN_IF_ERROR(ReserveInitializer((count + 1) * stride, variable));
    } else if (count == extents[dimension]) {
      return ErrorAt(reader_.line(), "'{}' has more initial values than the {} of its size", variable.name, count);
    }
    if (dimension + 1 < extents.size()) {
      RETURN_IF_ERROR(ParseInitializerList(layout, extents, dimension + 1, offset + count * stride, variable).status());
    } else {
      RETURN_IF_ERROR(ParseInitialValue(layout.type, offset + count * stride, variable));
    }
    ++count;
  } while (reader_.Accept(','));
  RETURN_IF_ERROR(reader_.Expect('}'));
  return count;
}

Status DeclarationParser::ParseInitialValue(Type type, int64_t offset, Variable& variable) {
  const uint32_t line = reader_.line();
  if (reader_.Is(TokenKind::kIdentifier)) {
    return UnsupportedAt(line, "an address ('{}') as initial value of '{}' is not supported", reader_.token().text,
                         variable.name);
  }
  if (IsHalf(type) || type == Type::kB128) {
    return UnsupportedAt(line, "an initial value of '{}' in half precision or of 128 bits is not supported",
                         variable.name);
  }
  const bool negative = reader_.Accept('-');
  uint64_t bits = reader_.token().bits;
  if (IsFloat(type)) {
    if (!reader_.Is(TokenKind::kFloat)) {
      return reader_.Unexpected("a floating-point number");
    }
    const bool is_single = reader_.token().is_single;
    double value = is_single ? std::bit_cast<float>(static_cast<uint32_t>(bits)) : std::bit_cast<double>(bits);
    value = negative ? -value : value;
    bits = type == Type::kF64 ? std::bit_cast<uint64_t>(value) : std::bit_cast<uint32_t>(static_cast<float>(value));
  } else {
    if (!reader_.Is(TokenKind::kInteger)) {
      return reader_.Unexpected("an integer");
    }
    const int num_bits = 8 * SizeOf(type);
    if (num_bits < 64 && bits > (negative ? uint64_t{1} << (num_bits - 1) : (uint64_t{1} << num_bits) - 1)) {
      return reader_.Unexpected(fmt::format("an integer of {} bits", num_bits));
    }
    bits = negative ? 0 - bits : bits;
  }
  reader_.Next();
  std::memcpy(variable.initializer.data() + offset, &bits, SizeOf(type));
  return OkStatus();
}

/// Makes the initial values `size_bytes` long, those that are new zero.
Status DeclarationParser::ReserveInitializer(int64_t size_bytes, Variable& variable) {
  const int64_t added = size_bytes - static_cast<int64_t>(variable.initializer.size());
  if (added > kMaxInitializedBytes - initialized_bytes_) {
    return UnsupportedAt(reader_.line(), "initial values of more than {} bytes, with those of '{}'",
                         kMaxInitializedBytes, variable.name);
  }
  initialized_bytes_ += added;
  variable.initializer.resize(size_bytes);
  return OkStatus();
}

/// `.ptr .global .align 16`: promises about what a parameter points to. Accesses are checked where they happen.
Status DeclarationParser::ParsePointerAttributes() {
  if (!reader_.Accept(".ptr")) {
    return OkStatus();
  }
  for (const std::string_view space : {".global", ".shared", ".const", ".local"}) {
    if (reader_.Accept(space)) {
      break;
    }
  }
  return reader_.Accept(".align") ? ParseAlign().status() : OkStatus();
}

StatusOr<std::vector<Parameter>> DeclarationParser::ParseParameters() {
  RETURN_IF_ERROR(reader_.Expect('('));
  std::vector<Parameter> parameters;
  if (reader_.Accept(')')) {
    return parameters;
  }
  int64_t end = 0;
  do {
    if (reader_.Is(".reg")) {
      return UnsupportedAt(reader_.line(), "parameters in registers are not supported");
    }
    if (!reader_.Accept(".param")) {
      return reader_.Unexpected("'.param'");
    }
    ASSIGN_OR_RETURN(const Layout layout, ParseLayout());
    RETURN_IF_ERROR(ParsePointerAttributes());
    const uint32_t line = reader_.line();
    Parameter parameter;
    ASSIGN_OR_RETURN(parameter.name, reader_.ExpectIdentifier("the name of a parameter"));
    parameter.type = layout.type;
    parameter.align_bytes = layout.align_bytes;
    ASSIGN_OR_RETURN(const Extents extents, ParseExtents());
    ASSIGN_OR_RETURN(parameter.size_bytes, SizeBytes(layout, extents));
    if (!extents.empty() && extents[0] == kUnknownExtent) {
      return UnsupportedAt(line, "'{}', a parameter without a size, is not supported", parameter.name);
    }
    for (const Parameter& other : parameters) {
      if (other.name == parameter.name) {
        return ErrorAt(line, "parameter '{}' is declared twice", parameter.name);
      }
    }
    parameter.offset_bytes = RoundUp(end, parameter.align_bytes);
    end = parameter.offset_bytes + parameter.size_bytes;
    parameters.push_back(std::move(parameter));
  } while (reader_.Accept(','));
  RETURN_IF_ERROR(reader_.Expect(')'));
  return parameters;
}

}  // namespace nemotron::ptxsim
