// Operands of instructions (ISA, section 6).

#include <algorithm>
#include <string_view>
#include <utility>

#include "tools/ptxsim/ptx/body.h"

namespace nemotron::ptxsim {
namespace {

using runtime::OkStatus;
using runtime::Status;
using runtime::StatusOr;

/// Section 10. Those of three dimensions are read as %tid.x.
constexpr std::string_view kSpecialVectors[] = {"%tid",       "%ntid",       "%ctaid",         "%nctaid",
                                                "%clusterid", "%nclusterid", "%cluster_ctaid", "%cluster_nctaid"};
constexpr std::string_view kSpecialScalars[] = {
    "%laneid",
    "%warpid",
    "%nwarpid",
    "%smid",
    "%nsmid",
    "%gridid",
    "%is_explicit_cluster",
    "%cluster_ctarank",
    "%cluster_nctarank",
    "%lanemask_eq",
    "%lanemask_le",
    "%lanemask_lt",
    "%lanemask_ge",
    "%lanemask_gt",
    "%clock",
    "%clock_hi",
    "%clock64",
    "%globaltimer",
    "%globaltimer_lo",
    "%globaltimer_hi",
    "%total_smem_size",
    "%aggr_smem_size",
    "%dynamic_smem_size",
    "%reserved_smem_offset_begin",
    "%reserved_smem_offset_end",
    "%reserved_smem_offset_cap",
    "%reserved_smem_offset_0",
    "%reserved_smem_offset_1",
    "%current_graph_exec",
};

template <size_t N>
bool Contains(const std::string_view (&names)[N], std::string_view name) {
  return std::find(std::begin(names), std::end(names), name) != std::end(names);
}

}  // namespace

Status BodyParser::ParseOperand(Operand& operand) {
  if (reader_.Accept('[')) {
    return ParseAddress(operand);
  }
  if (reader_.Accept('{')) {
    return ParseList('}', operand);
  }
  if (reader_.Accept('(')) {
    return ParseList(')', operand);
  }
  RETURN_IF_ERROR(ParseScalar(operand, /*may_be_label=*/true));
  if (std::holds_alternative<SymbolRef>(operand.value) && (reader_.Is('+') || reader_.Is('-'))) {
    return UnsupportedAt(reader_.line(), "an offset to '{}' outside of brackets is not supported",
                         std::get<SymbolRef>(operand.value).name);
  }
  return reader_.Is('|') ? ParsePair(operand) : OkStatus();
}

Status BodyParser::ParseScalar(Operand& operand, bool may_be_label) {
  if (reader_.Is(TokenKind::kIdentifier)) {
    return ParseName(operand, may_be_label);
  }
  if (reader_.Accept('!')) {
    ASSIGN_OR_RETURN(RegisterRef reference, ParseRegister());
    reference.negated = true;
    operand.value = reference;
    return OkStatus();
  }
  return ParseNumber(operand);
}

Status BodyParser::ParseNumber(Operand& operand) {
  const bool negative = reader_.Accept('-');
  const Token& token = reader_.token();
  if (token.kind == TokenKind::kInteger) {
    operand.value = IntImmediate{static_cast<int64_t>(negative ? 0 - token.bits : token.bits)};
  } else if (token.kind == TokenKind::kFloat) {
    const uint64_t sign = uint64_t{negative} << (token.is_single ? 31 : 63);
    operand.value = FloatImmediate{!token.is_single, token.bits ^ sign};
  } else {
    return reader_.Unexpected(negative ? "a number" : "an operand");
  }
  reader_.Next();
  return OkStatus();
}

Status BodyParser::ParseName(Operand& operand, bool may_be_label) {
  const std::string_view name = reader_.token().text;
  const uint32_t line = reader_.line();
  reader_.Next();
  if (const auto meaning = scopes_.Find(name)) {
    if (const auto* reference = std::get_if<RegisterRef>(&*meaning)) {
      operand.value = *reference;
      return OkStatus();
    }
    operand.value = SymbolRef{std::string(std::get<std::string_view>(*meaning))};
  } else if (name == "_") {
    operand.value = Discard{};
  } else if (name == "WARP_SZ") {
    operand.value = IntImmediate{32};
  } else if (name[0] == '%') {
    return ParseSpecialRegister(name, line, operand);
  } else if (may_be_label) {
    const auto instruction = static_cast<uint32_t>(function_.instructions.size());
    pending_.push_back({name, line, scopes_.current(), instruction, static_cast<uint32_t>(operands_.size() - 1)});
  } else {
    return ErrorAt(line, "'{}' is not declared", name);
  }
  return OkStatus();
}

Status BodyParser::ParseSpecialRegister(std::string_view name, uint32_t line, Operand& operand) {
  if (Contains(kSpecialVectors, name)) {
    for (const std::string_view component : {".x", ".y", ".z"}) {
      if (reader_.Accept(component)) {
        operand.value = SpecialRef{std::string(name) + std::string(component)};
        return OkStatus();
      }
    }
    return reader_.Unexpected(fmt::format("'.x', '.y' or '.z' behind '{}'", name));
  }
  if (!Contains(kSpecialScalars, name)) {
    return ErrorAt(line, "register '{}' is not declared", name);
  }
  operand.value = SpecialRef{std::string(name)};
  return OkStatus();
}

/// Behind the opening bracket.
Status BodyParser::ParseList(char end, Operand& operand) {
  OperandList list;
  if (!(end == ')' && reader_.Is(end))) {  // a call without arguments
    do {
      RETURN_IF_ERROR(ParseScalar(list.elements.emplace_back(), /*may_be_label=*/false));
    } while (reader_.Accept(','));
  }
  operand.value = std::move(list);
  return reader_.Expect(end);
}

/// `%p|%q`, behind the first.
Status BodyParser::ParsePair(Operand& operand) {
  const auto is_destination = [](const Operand& o) {
    return std::holds_alternative<RegisterRef>(o.value) || std::holds_alternative<Discard>(o.value);
  };
  OperandList pair;
  pair.elements.resize(2);
  if (!is_destination(operand)) {
    return reader_.Unexpected("a register before '|'");
  }
  pair.elements[0] = std::move(operand);
  RETURN_IF_ERROR(reader_.Expect('|'));
  RETURN_IF_ERROR(ParseScalar(pair.elements[1], /*may_be_label=*/false));
  if (!is_destination(pair.elements[1])) {
    return reader_.Unexpected("a register behind '|'");
  }
  operand.value = std::move(pair);
  return OkStatus();
}

/// `[%rd1+16]`, `[name]`, `[name+-8]` or `[16]`, behind the bracket.
Status BodyParser::ParseAddress(Operand& operand) {
  Address address;
  if (reader_.Is(TokenKind::kIdentifier)) {
    Operand base;
    RETURN_IF_ERROR(ParseName(base, /*may_be_label=*/false));
    if (const auto* reference = std::get_if<RegisterRef>(&base.value)) {
      address.base = *reference;
    } else if (auto* symbol = std::get_if<SymbolRef>(&base.value)) {
      address.base = std::move(*symbol);
    } else {
      return reader_.Unexpected("a register or variable before it, in brackets");
    }
    if (reader_.Accept('+')) {
      ASSIGN_OR_RETURN(address.offset, reader_.ExpectInteger("an offset in bytes"));
    } else if (reader_.Is('-')) {
      ASSIGN_OR_RETURN(address.offset, reader_.ExpectInteger("an offset in bytes"));
    }
  } else {
    ASSIGN_OR_RETURN(address.offset, reader_.ExpectInteger("an address"));
  }
  if (reader_.Is(',')) {
    return UnsupportedAt(reader_.line(), "an address with coordinates, of a texture or tensor map, is not supported");
  }
  operand.value = std::move(address);
  return reader_.Expect(']');
}

StatusOr<RegisterRef> BodyParser::ParseRegister() {
  const uint32_t line = reader_.line();
  ASSIGN_OR_RETURN(const std::string_view name, reader_.ExpectIdentifier("a register"));
  const auto meaning = scopes_.Find(name);
  if (!meaning.has_value() || !std::holds_alternative<RegisterRef>(*meaning)) {
    return ErrorAt(line, "register '{}' is not declared", name);
  }
  return std::get<RegisterRef>(*meaning);
}

}  // namespace nemotron::ptxsim
