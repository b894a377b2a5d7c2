#include "tools/ptxsim/ptx/parser.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/tools/ptxsim/ptx/ptx_text.h"

namespace nemotron::ptxsim {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

Module Parse(const std::string& text) {
  auto module = ParsePtx(text);
  EXPECT_TRUE(module.ok()) << module.status().message() << "\n" << text;
  return module.ok() ? std::move(*module) : Module();
}

Module ParseModule(std::string_view text) { return Parse(ModuleText(text)); }

Function ParseBody(std::string_view body) {
  Module module = Parse(BodyText(body));
  return module.functions.empty() ? Function() : std::move(module.functions[0]);
}

const RegisterRef& Reg(const Operand& operand) { return std::get<RegisterRef>(operand.value); }
int64_t Int(const Operand& operand) { return std::get<IntImmediate>(operand.value).value; }
const std::string& Symbol(const Operand& operand) { return std::get<SymbolRef>(operand.value).name; }
uint32_t Label(const Operand& operand) { return std::get<LabelRef>(operand.value).instruction; }
const Address& Addr(const Operand& operand) { return std::get<Address>(operand.value); }
const std::vector<Operand>& List(const Operand& operand) { return std::get<OperandList>(operand.value).elements; }

std::string RegName(const Function& function, const Operand& operand) {
  return function.registers.at(Reg(operand).index).name;
}

TEST(ParserTest, Header) {
  const Module module = Parse("// c\n.version 9.0\n.target sm_90a, debug\n.address_size 64\n");
  EXPECT_EQ(module.version, "9.0");
  EXPECT_EQ(module.target, "sm_90a");
  EXPECT_EQ(module.address_size, 64);
  EXPECT_THAT(module.functions, IsEmpty());
}

TEST(ParserTest, EntryWithParametersAtNaturalAlignment) {
  const Module module = ParseModule(R"(
.visible .entry k(
    .param .u8 a,
    .param .u64 .ptr .global .align 16 b,
    .param .align 8 .b8 c[13],
    .param .f32 d
)
.maxntid 256, 2
.reqntid 32
.minnctapersm 2
.maxnreg 64
.explicitcluster
.reqnctapercluster 1, 1, 1
.pragma "nounroll";
{ ret; })");
  const Function* k = module.Find("k");
  ASSERT_NE(k, nullptr);
  EXPECT_EQ(module.Find("l"), nullptr);
  EXPECT_TRUE(k->is_entry);
  EXPECT_EQ(k->line, 5u);
  ASSERT_EQ(k->parameters.size(), 4u);
  std::vector<int64_t> offsets, sizes;
  for (const Parameter& parameter : k->parameters) {
    offsets.push_back(parameter.offset_bytes);
    sizes.push_back(parameter.size_bytes);
  }
  EXPECT_THAT(offsets, ElementsAre(0, 8, 16, 32));
  EXPECT_THAT(sizes, ElementsAre(1, 8, 13, 4));
  EXPECT_EQ(k->parameters[2].align_bytes, 8);
  EXPECT_EQ(k->parameter_bytes, 36);
  EXPECT_THAT(k->max_threads, ElementsAre(256u, 2u, 1u));
  EXPECT_THAT(k->required_threads, ElementsAre(32u, 1u, 1u));
  EXPECT_EQ(k->min_blocks_per_sm, 2u);
}

TEST(ParserTest, FunctionsDeclaredAndDefined) {
  const Module module = ParseModule(R"(
.extern .func (.param .b32 r) vprintf (.param .b64 a, .param .b64 b) ;
.func (.param .align 8 .b8 r[56]) f (.param .b32 x) ;
.weak .func (.param .align 8 .b8 r[56]) f (.param .b32 x) { ret; }
.func g .noreturn { trap; })");
  ASSERT_EQ(module.functions.size(), 2u) << "only those with a body";
  const Function* f = module.Find("f");
  ASSERT_NE(f, nullptr);
  EXPECT_FALSE(f->is_entry);
  ASSERT_EQ(f->results.size(), 1u);
  EXPECT_EQ(f->results[0].size_bytes, 56);
}

TEST(ParserTest, VariablesOfAModule) {
  const Module module = ParseModule(R"(
.global .align 4 .u32 counter = 7;
.visible .const .align 4 .b8 table[5] = {1, 0xff, -128};
.global .f32 f = 0f3F800000;
.global .f64 d = 1.5;
.global .b16 rows[2][3] = {{1}, {2, 3}};
.global .b8 unsized[] = {1, 2, 3};
.global .v2 .f32 pairs[2] = {{1.0, 2.0}, {-3.0, 0f40800000}};
.extern .shared .align 16 .b8 dyn[];
.shared .b64 bar, other;
.common .global .b32 zero;)");
  std::vector<std::string> names;
  for (const Variable& variable : module.variables) {
    names.push_back(variable.name);
  }
  ASSERT_THAT(names,
              ElementsAre("counter", "table", "f", "d", "rows", "unsized", "pairs", "dyn", "bar", "other", "zero"));
  const auto& v = module.variables;
  EXPECT_THAT(v[0].initializer, ElementsAre(7, 0, 0, 0));
  EXPECT_EQ(v[0].space, Space::kGlobal);
  EXPECT_EQ(v[1].space, Space::kConst);
  EXPECT_EQ(v[1].align_bytes, 4);
  EXPECT_THAT(v[1].initializer, ElementsAre(1, 255, 128, 0, 0)) << "the rest is zero";
  EXPECT_THAT(v[2].initializer, ElementsAre(0, 0, 0x80, 0x3f));
  EXPECT_THAT(v[3].initializer, ElementsAre(0, 0, 0, 0, 0, 0, 0xf8, 0x3f));
  EXPECT_THAT(v[4].initializer, ElementsAre(1, 0, 0, 0, 0, 0, 2, 0, 3, 0, 0, 0));
  EXPECT_EQ(v[5].size_bytes, 3);
  EXPECT_EQ(v[6].size_bytes, 16);
  EXPECT_EQ(v[6].align_bytes, 8);
  EXPECT_THAT(v[6].initializer, ElementsAre(0, 0, 0x80, 0x3f, 0, 0, 0, 0x40, 0, 0, 0x40, 0xc0, 0, 0, 0x80, 0x40));
  EXPECT_TRUE(v[7].is_extern);
  EXPECT_EQ(v[7].size_bytes, 0);
  EXPECT_EQ(v[7].align_bytes, 16);
  EXPECT_EQ(v[9].space, Space::kShared);
  EXPECT_THAT(v[10].initializer, IsEmpty());
}

TEST(ParserTest, ADefinitionReplacesADeclaration) {
  const Module module = ParseModule(".extern .global .b32 x;\n.extern .global .b32 x;\n.global .b32 x = 1;");
  ASSERT_EQ(module.variables.size(), 1u);
  EXPECT_FALSE(module.variables[0].is_extern);
  EXPECT_THAT(module.variables[0].initializer, ElementsAre(1, 0, 0, 0));
}

TEST(ParserTest, Instruction) {
  const Function f = ParseBody(R"(.reg .pred %p<3>;
.reg .b32 %r<5>;
.reg .b64 %rd<2>;
@!%p2 ld.global.nc.L1::no_allocate.L2::128B.v4.u32 {%r1, %r2, %r3, _}, [%rd1+-16];)");
  ASSERT_EQ(f.instructions.size(), 1u);
  const Instruction& ld = f.instructions[0];
  EXPECT_EQ(ld.line, 8u);
  EXPECT_EQ(ld.opcode, "ld");
  EXPECT_THAT(ld.modifiers, ElementsAre("global", "nc", "L1::no_allocate", "L2::128B", "v4", "u32"));
  ASSERT_TRUE(ld.guard.has_value());
  EXPECT_TRUE(ld.guard->negated);
  EXPECT_EQ(f.registers[ld.guard->index].name, "%p2");
  EXPECT_EQ(f.registers[ld.guard->index].type, Type::kPred);
  ASSERT_EQ(ld.operands.size(), 2u);
  ASSERT_EQ(List(ld.operands[0]).size(), 4u);
  EXPECT_EQ(RegName(f, List(ld.operands[0])[2]), "%r3");
  EXPECT_TRUE(std::holds_alternative<Discard>(List(ld.operands[0])[3].value));
  EXPECT_EQ(Addr(ld.operands[1]).offset, -16);
  EXPECT_EQ(f.registers[std::get<RegisterRef>(Addr(ld.operands[1]).base).index].type, Type::kB64);
}

TEST(ParserTest, RegistersThatDoNotOccurAreNotKept) {
  const Function f = ParseBody(".reg .b32 %r<4000000000>;\nmov.b32 %r3999999999, %r7;");
  ASSERT_EQ(f.registers.size(), 2u);
  EXPECT_EQ(f.registers[0].name, "%r3999999999");
  EXPECT_EQ(f.registers[1].name, "%r7");
}

TEST(ParserTest, Addresses) {
  const Function f = ParseBody(R"(.reg .b32 %r<2>;
.shared .align 4 .b8 s[16];
ld.param.u32 %r1, [p];
ld.param.u32 %r1, [p+4];
ld.shared.u32 %r1, [s-4];
ld.shared.u32 %r1, [16];
cp.async.cg.shared.global [%r1], [%r1], 16;)");
  EXPECT_EQ(std::get<SymbolRef>(Addr(f.instructions[0].operands[1]).base).name, "p");
  EXPECT_EQ(Addr(f.instructions[1].operands[1]).offset, 4);
  EXPECT_EQ(Addr(f.instructions[2].operands[1]).offset, -4);
  EXPECT_EQ(std::get<SymbolRef>(Addr(f.instructions[2].operands[1]).base).name, "s");
  EXPECT_TRUE(std::holds_alternative<std::monostate>(Addr(f.instructions[3].operands[1]).base));
  EXPECT_EQ(Addr(f.instructions[3].operands[1]).offset, 16);
  EXPECT_EQ(Int(f.instructions[4].operands[2]), 16);
}

TEST(ParserTest, Immediates) {
  const Function f = ParseBody(R"(.reg .b64 a;
x a, -9223372036854775808, 0xffffffffffffffff, -1, WARP_SZ, 0f3F800000, -0f3F800000, 0d3FF0000000000000, 1.0;)");
  const auto& o = f.instructions.at(0).operands;
  ASSERT_EQ(o.size(), 9u);
  EXPECT_EQ(Int(o[1]), INT64_MIN);
  EXPECT_EQ(Int(o[2]), -1);
  EXPECT_EQ(Int(o[3]), -1);
  EXPECT_EQ(Int(o[4]), 32);
  EXPECT_FALSE(std::get<FloatImmediate>(o[5].value).is_double);
  EXPECT_EQ(std::get<FloatImmediate>(o[5].value).bits, 0x3f800000u);
  EXPECT_EQ(std::get<FloatImmediate>(o[6].value).bits, 0xbf800000u);
  EXPECT_TRUE(std::get<FloatImmediate>(o[7].value).is_double);
  EXPECT_EQ(std::get<FloatImmediate>(o[8].value).bits, 0x3ff0000000000000u);
}

TEST(ParserTest, PairsNegationsAndSpecialRegisters) {
  const Function f = ParseBody(R"(.reg .b32 %r<9>; .reg .pred %p<9>;
shfl.sync.bfly.b32 %r1|%p1, %r2, 1, 31, -1;
elect.sync _|%p1, -1;
and.pred %p1, %p2, !%p3;
mov.u32 %r1, %tid.x;
mov.u32 %r1, %laneid;
mov.u32 %r1, %dynamic_smem_size;)");
  EXPECT_EQ(RegName(f, List(f.instructions[0].operands[0])[1]), "%p1");
  EXPECT_TRUE(std::holds_alternative<Discard>(List(f.instructions[1].operands[0])[0].value));
  EXPECT_FALSE(Reg(f.instructions[2].operands[1]).negated);
  EXPECT_TRUE(Reg(f.instructions[2].operands[2]).negated);
  EXPECT_EQ(std::get<SpecialRef>(f.instructions[3].operands[1].value).name, "%tid.x");
  EXPECT_EQ(std::get<SpecialRef>(f.instructions[4].operands[1].value).name, "%laneid");
  EXPECT_EQ(std::get<SpecialRef>(f.instructions[5].operands[1].value).name, "%dynamic_smem_size");
}

TEST(ParserTest, LabelsForwardsBackwardsAndAtTheEnd) {
  const Function f = ParseBody("$L1:\nbra $L2;\nbra $L1;\n$L2: bra.uni end;\nend:");
  EXPECT_EQ(Label(f.instructions[0].operands[0]), 2u);
  EXPECT_EQ(Label(f.instructions[1].operands[0]), 0u);
  EXPECT_EQ(Label(f.instructions[2].operands[0]), 3u);
}

TEST(ParserTest, BranchTables) {
  const Function f = ParseBody(R"(.reg .b32 %r<2>;
first: .branchtargets $A, $A;
second: .branchtargets $B, $A;
brx.idx %r1, second;
$A: ret;
$B: ret;)");
  EXPECT_THAT(f.branch_targets, ElementsAre(ElementsAre(1u, 1u), ElementsAre(2u, 1u)));
  EXPECT_EQ(Int(f.instructions[0].operands[1]), 1);
}

// As inline assembly does it: the same names, once for each place it is inlined to.
TEST(ParserTest, BlocksHaveTheirOwnNames) {
  const Function f = ParseBody(R"(.reg .b32 %r<3>, x;
mov.b32 x, 1;
{ .reg .b32 x; .reg .b64 %r<2>;
  mov.b64 %r1, 1;
  mov.b32 x, %r2;
again: bra again;
}
{ .reg .b32 x;
  mov.b32 x, %r1;
again: bra again; }
mov.b32 x, 2;)");
  const uint32_t outer = Reg(f.instructions[0].operands[0]).index;
  const uint32_t inner = Reg(f.instructions[2].operands[0]).index;
  const uint32_t other = Reg(f.instructions[4].operands[0]).index;
  EXPECT_NE(outer, inner);
  EXPECT_NE(outer, other);
  EXPECT_NE(inner, other);
  EXPECT_EQ(Reg(f.instructions[6].operands[0]).index, outer);
  EXPECT_EQ(f.registers[Reg(f.instructions[1].operands[0]).index].type, Type::kB64);
  EXPECT_EQ(f.registers[Reg(f.instructions[2].operands[1]).index].type, Type::kB32) << "%r2 of the outer block";
  EXPECT_EQ(f.registers[Reg(f.instructions[4].operands[1]).index].type, Type::kB32);
  EXPECT_EQ(Label(f.instructions[3].operands[0]), 3u);
  EXPECT_EQ(Label(f.instructions[5].operands[0]), 5u);
}

TEST(ParserTest, CallsWithParametersInBlocks) {
  const Module module = ParseModule(R"(
.func (.param .b32 r) f (.param .b32 x) { ret; }
.func g { ret; }
.entry k() {
.reg .b32 %r<3>;
{ // callseq 0, 0
.reg .b32 temp_param_reg;
.param .b32 param0;
st.param.b32 [param0+0], %r1;
.param .b32 retval0;
call.uni (retval0),
f,
(
param0
);
ld.param.b32 %r2, [retval0+0];
}
{
.param .align 8 .b8 param0[16];
st.param.b32 [param0+8], %r1;
call f, (param0);
call.uni
g,
(
);
}
})");
  const Function& k = *module.Find("k");
  ASSERT_EQ(k.variables.size(), 3u);
  EXPECT_EQ(k.variables[0].name, "param0");
  EXPECT_EQ(k.variables[0].space, Space::kParam);
  EXPECT_EQ(k.variables[2].name, "param0.1") << "another variable of the same name";
  EXPECT_EQ(k.variables[2].size_bytes, 16);
  const auto& call = k.instructions[1];
  EXPECT_EQ(call.opcode, "call");
  EXPECT_THAT(call.modifiers, ElementsAre("uni"));
  ASSERT_EQ(call.operands.size(), 3u);
  EXPECT_EQ(Symbol(List(call.operands[0])[0]), "retval0");
  EXPECT_EQ(Symbol(call.operands[1]), "f");
  EXPECT_EQ(Symbol(List(call.operands[2])[0]), "param0");
  EXPECT_EQ(std::get<SymbolRef>(Addr(k.instructions[3].operands[0]).base).name, "param0.1");
  EXPECT_EQ(Symbol(List(k.instructions[4].operands[1])[0]), "param0.1");
  EXPECT_THAT(List(k.instructions[5].operands[1]), IsEmpty());
}

TEST(ParserTest, VariablesOfABodyHideThoseOfTheModule) {
  const Module module = ParseModule(R"(
.global .b32 x;
.entry k() {
.reg .b64 %rd<2>;
.local .align 16 .b8 __local_depot0[40];
mov.u64 %rd1, x;
{ .shared .b32 x; mov.u64 %rd1, x; }
mov.u64 %rd1, __local_depot0;
})");
  const Function& k = *module.Find("k");
  EXPECT_EQ(Symbol(k.instructions[0].operands[1]), "x");
  EXPECT_EQ(Symbol(k.instructions[1].operands[1]), "x.1");
  EXPECT_EQ(Symbol(k.instructions[2].operands[1]), "__local_depot0");
  ASSERT_EQ(k.variables.size(), 2u);
  EXPECT_EQ(k.variables[0].space, Space::kLocal);
  EXPECT_EQ(k.variables[0].size_bytes, 40);
  EXPECT_EQ(k.variables[0].align_bytes, 16);
  EXPECT_EQ(k.variables[1].space, Space::kShared);
}

TEST(ParserTest, MatrixOperands) {
  const Function f = ParseBody(R"(.reg .b32 %r<9>; .reg .f32 %f<9>;
mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%f1,%f2,%f3,%f4}, {%r1,%r2,%r3,%r4}, {%r5,%r6}, {%f1,%f2,%f3,%f4};)");
  const Instruction& mma = f.instructions.at(0);
  EXPECT_EQ(mma.modifiers[2], "m16n8k16");
  ASSERT_EQ(mma.operands.size(), 4u);
  EXPECT_EQ(List(mma.operands[2]).size(), 2u);
  EXPECT_EQ(f.registers[Reg(List(mma.operands[3])[0]).index].type, Type::kF32);
}

TEST(ParserTest, SkipsWhatDebuggersRead) {
  const Module module = ParseModule(R"(
.file 1 "/src/a.cu", 1, 2
.entry k() {
.loc 1 2 3, function_name $L__info_string0, inlined_at 1 2 3
.pragma "nounroll";
ret;
}
.section .debug_loc { .b64 $L__a-$L__b
.b8 1,2 }
)");
  EXPECT_EQ(module.Find("k")->instructions.size(), 1u);
}

}  // namespace
}  // namespace nemotron::ptxsim
