// Each message of the parser, with its line.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "tests/tools/ptxsim/ptx/ptx_text.h"
#include "tools/ptxsim/ptx/parser.h"

namespace nemotron::ptxsim {
namespace {

using runtime::StatusCode;

struct Case {
  std::string text;
  std::string message;
};

void ExpectError(const std::string& text, StatusCode code, const std::string& message) {
  const auto module = ParsePtx(text);
  ASSERT_FALSE(module.ok()) << text;
  EXPECT_EQ(module.status().code(), code) << text;
  EXPECT_EQ(module.status().message(), message) << text;
}

TEST(ParserErrorTest, Header) {
  for (const Case& c : std::vector<Case>{
           {"", "line 1: the text ends, expected '.version'"},
           {"\x7f"
            "ELF",
            "line 1: found a character that PTX does not have, expected '.version'"},
           {".version 9\n", "line 1: found '9', expected a version, e.g. 9.0"},
           {".version 9.0\n.entry", "line 2: found '.entry', expected '.target'"},
           {".version 9.0\n.target 90", "line 2: found '90', expected an architecture, e.g. sm_90a"},
           {".version 9.0\n.target compute_90", "line 2: target 'compute_90', expected an architecture, e.g. sm_90a"},
           {".version 9.0\n.target sm_90,", "line 2: the text ends, expected an option of the target"},
       }) {
    ExpectError(c.text, StatusCode::kInvalidArgument, c.message);
  }
  ExpectError(".version 9.0\n.target sm_90, texmode_independent", StatusCode::kUnimplemented,
              "line 2: target option 'texmode_independent' is not supported");
  ExpectError(".version 9.0\n.target sm_90\n.address_size 32", StatusCode::kUnimplemented,
              "line 3: addresses of 32 bits, of 64 are supported");
}

TEST(ParserErrorTest, MalformedModules) {
  for (const Case& c : std::vector<Case>{
           {"ret;", "line 4: found 'ret', expected a function, a variable or the end of the text"},
           {".global .b32 4;", "line 4: found '4', expected the name of a variable"},
           {".global .x32 a;", "line 4: found '.x32', expected a type"},
           {".global .pred a;", "line 4: a predicate in memory, expected a type that has bytes"},
           {".global .align 3 .b32 a;", "line 4: an alignment of 3 bytes, expected a power of two"},
           {".global .b32 a[];", "line 4: 'a' has no size, expected one unless it is .extern"},
           {".global .b32 a[0];", "line 4: an array of 0 elements, expected at least 1"},
           {".global .b32 a[] = {};", "line 4: 'a' has neither a size nor initial values"},
           {".global .b8 a[2] = {1, 2, 3};", "line 4: 'a' has more initial values than the 2 of its size"},
           {".global .b8 a[2][2] = {1};", "line 4: found '1', expected '{'"},
           {".global .b8 a = 256;", "line 4: found '256', expected an integer of 8 bits"},
           {".global .b8 a = -129;", "line 4: found '129', expected an integer of 8 bits"},
           {".global .b8 a = 1.0;", "line 4: found '1.0', expected an integer"},
           {".global .f32 a = 1;", "line 4: found '1', expected a floating-point number"},
           {".shared .b8 a = 1;",
            "line 4: 'a' has an initial value, which only variables of .global and .const can have"},
           {".global .b32 a\n.global", "line 5: found '.global', expected ';'"},
           {".global .b32 a;\n.global .b32 a;", "line 5: 'a' is defined twice"},
           {".global .b32 a;\n.func a { }", "line 5: 'a' is declared as a variable and as a function"},
           {".func a { }\n.func a { }", "line 5: 'a' is defined twice"},
           {".entry k(.reg2 x)", "line 4: found '.reg2', expected '.param'"},
           {".entry k(.param .b32 a, .param .b32 a)", "line 4: parameter 'a' is declared twice"},
           {".entry k(.param .b8 a[40000])\n{ }", "line 4: parameters of 'k' take 40000 bytes, expected at most 32764"},
           {".entry k() .maxntid 0 { }", "line 4: an extent of 0, expected at least 1"},
           {".entry k() .minnctapersm x { }", "line 4: found 'x', expected a number of blocks, at most 4294967295"},
           {".entry k() ret", "line 4: found 'ret', expected '{'"},
           {".pragma x;", "line 4: found 'x', expected a string"},
           {".section .debug_x {", "line 4: the text ends, expected '}' at the end of a section"},
       }) {
    ExpectError(ModuleText(c.text), StatusCode::kInvalidArgument, c.message);
  }
}

TEST(ParserErrorTest, UnsupportedModules) {
  for (const Case& c : std::vector<Case>{
           {".alias a, b;", "line 4: directive '.alias' in a module is not supported"},
           {".global .attribute(.managed) .b32 a;",
            "line 4: '.attribute', e.g. managed or unified memory, is not supported"},
           {".func .attribute(.unified(1, 2)) f { }", "line 4: '.attribute' of a function is not supported"},
           {".global .b64 a = generic(b);", "line 4: an address ('generic') as initial value of 'a' is not supported"},
           {".global .f16 a = 1.0;",
            "line 4: an initial value of 'a' in half precision or of 128 bits is not supported"},
           {".global .b8 a[1][1][1][1][1][1][1][1][1];", "line 4: arrays of more than 8 dimensions are not supported"},
           {".global .b8 a[1000000][1000000][1000000];", "line 4: a variable of more than 1099511627776 bytes"},
           {".global .b8 a[300000000] = {1};",
            "line 4: initial values of more than 268435456 bytes, with those of 'a'"},
           {".func f (.reg .b32 a) { }", "line 4: parameters in registers are not supported"},
           {".func f (.param .b32 a[]) { }", "line 4: 'a', a parameter without a size, is not supported"},
           {".entry k() .blocksareclusters { }",
            "line 4: directive '.blocksareclusters' of a function is not supported"},
           {".entry k() .reqnctapercluster 2, 1, 1 { }", "line 4: clusters of 2x1x1 blocks, of 1x1x1 are supported"},
           {".section .nv { }", "line 4: section '.nv', only those for debuggers are known"},
       }) {
    ExpectError(ModuleText(c.text), StatusCode::kUnimplemented, c.message);
  }
}

TEST(ParserErrorTest, MalformedBodies) {
  for (const Case& c : std::vector<Case>{
           {"ret", "line 6: found '}', expected an operand"},
           {"bra a b;", "line 5: found 'b', expected ';'"},
           {"{ ret;", "line 7: the text ends, expected a statement or '}'"},
           {"5;", "line 5: found '5', expected a statement or '}'"},
           {"mov.b32 %r1, 0;", "line 5: register '%r1' is not declared"},
           {".reg .b32 %r<2>;\nmov.b32 %r2, 0;", "line 6: register '%r2' is not declared"},
           {".reg .b32 %r<2>;\nmov.b32 %r01, 0;", "line 6: register '%r01' is not declared"},
           {".reg .b32 a, a;", "line 5: 'a' is declared twice in one block"},
           {".reg .b32 a<2>;\n.reg .b32 a<4>;", "line 6: 'a' is declared twice in one block"},
           {".reg .b32 a<2>;\n.reg .b32 a1;", "line 6: 'a1' is declared twice in one block"},
           {".reg .b32 a1;\n.reg .b32 a<2>;", "line 6: 'a' is declared twice in one block"},
           {".reg .b32 a;\n.shared .b32 a;", "line 6: 'a' is declared twice in one block"},
           {".param .b32 p;", "line 5: 'p' is declared twice in one block"},
           {".shared .b8 a[];", "line 5: 'a' has no size, expected one unless it is .extern"},
           {".pragma nounroll;", "line 5: found 'nounroll', expected a string"},
           {"a: a:", "line 5: label 'a' is declared twice in one block"},
           {"bra nowhere;", "line 5: 'nowhere' is not declared"},
           {"{ inner: }\nbra inner;", "line 6: 'inner' is not declared"},
           {"t: .branchtargets t;", "line 5: table 't' among branch targets, expected a label"},
           {"t: .branchtargets u;", "line 5: 'u' is not declared"},
           {"@%p1 ret;", "line 5: register '%p1' is not declared"},
           {"@p ret;", "line 5: register 'p' is not declared"},
           {".reg .b32 a;\n@a ret;", "line 6: 'a' as a guard, expected a predicate"},
           {"mov.u32 [%laneid], 1;", "line 5: found ']', expected a register or variable before it, in brackets"},
           {".reg .b32 a;\nmov.u32 a, %tid;", "line 6: found ';', expected '.x', '.y' or '.z' behind '%tid'"},
           {"mov.u32 {}, 1;", "line 5: found '}', expected an operand"},
           {"mov.u32 {a}, 1;", "line 5: 'a' is not declared"},
           {"mov.u32 {1, {2}}, 1;", "line 5: found '{', expected an operand"},
           {"mov.u32 1|2, 1;", "line 5: found '|', expected a register before '|'"},
           {"mov.u32 _|2, 1;", "line 5: found ',', expected a register behind '|'"},
           {"mov.u32 -x, 1;", "line 5: found 'x', expected a number"},
           {"mov.u32 !1, 1;", "line 5: found '1', expected a register"},
           {"mov.u32 [nowhere], 1;", "line 5: 'nowhere' is not declared"},
           {"mov.u32 [p+q], 1;", "line 5: found 'q', expected an offset in bytes"},
           {"mov.u32 [p+1; 1;", "line 5: found ';', expected ']'"},
           {"mov.u32 [0x, 1;", "line 5: found a malformed integer, expected an address"},
       }) {
    ExpectError(BodyText(c.text), StatusCode::kInvalidArgument, c.message);
  }
}

TEST(ParserErrorTest, UnsupportedBodies) {
  for (const Case& c : std::vector<Case>{
           {".global .b32 a;", "line 5: directive '.global' in a function is not supported"},
           {".reg .v4 .b32 a;", "line 5: vectors of registers are not supported"},
           {"a : .callprototype (.param .b32 _) _ (.param .b32 _);",
            "line 5: indirect calls ('.callprototype') are not supported"},
           {".reg .b64 %rd<2>;\ncall %rd1, (p);", "line 6: a call through register '%rd1' is not supported"},
           {"mov.u64 _, p+8;", "line 5: an offset to 'p' outside of brackets is not supported"},
           {".reg .b64 a;\ntex [a, {1, 2}];",
            "line 6: an address with coordinates, of a texture or tensor map, is not supported"},
       }) {
    ExpectError(BodyText(c.text), StatusCode::kUnimplemented, c.message);
  }
}

// Recursion is bounded by the grammar, not by the stack.
TEST(ParserErrorTest, DeepNestingIsNoProblem) {
  const int depth = 100000;
  const std::string open(depth, '{'), close(depth, '}');
  EXPECT_TRUE(ParsePtx(BodyText(open + "ret;" + close)).ok());
  EXPECT_FALSE(ParsePtx(BodyText("mov.b32 " + open + ";")).ok());
  EXPECT_FALSE(ParsePtx(ModuleText(".global .b8 a[2] = " + open)).ok());
}

}  // namespace
}  // namespace nemotron::ptxsim
