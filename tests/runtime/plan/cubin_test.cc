// Cubins built by hand: an ELF file with one function, in the sections that the reader looks at.
#include "runtime/plan/cubin.h"

#include <elf.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <functional>
#include <random>
#include <string>
#include <string_view>
#include <vector>

namespace nemotron::runtime {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

using Code = std::vector<std::array<uint64_t, 2>>;

enum Opcode : uint64_t {
  kHfma2 = 0x031,
  kIadd = 0x035,
  kHmma = 0x03c,
  kFmul2 = 0x04a,
  kFfma = 0x023,
  kIadd3 = 0x010,
  kLds = 0x184,
  kLdl = 0x183,
  kStl = 0x187,
  kBra = 0x147,
  kExit = 0x14d,
  kUnknown = 0x1ff
};

constexpr uint64_t kAlways = 7, kIfP0 = 0;  // predicate registers

std::array<uint64_t, 2> Instruction(Opcode opcode, uint64_t guard = kAlways) {
  return {opcode | 4 << 9 | guard << 12, kAlways << 23};
}

/// BRA of instruction `from` to instruction `to`. The words of two branches that nvdisasm shows are tested below.
std::array<uint64_t, 2> Branch(int64_t from, int64_t to, uint64_t guard, int capability = 90) {
  const int64_t offset = 16 * (to - from - 1);
  std::array<uint64_t, 2> words = Instruction(kBra, guard);
  if (capability < 90) {
    words[0] |= static_cast<uint64_t>(offset) << 32;
    words[1] |= static_cast<uint64_t>(offset) >> 32 & 0x3ffff;
  } else {
    const auto units = static_cast<uint64_t>(offset / 4);
    words[0] |= (units & 0xff) << 16 | units >> 8 << 34;
    words[1] |= units >> 38 & 0x3ffff;
  }
  return words;
}

std::span<const std::byte> Bytes(const Code& code) { return std::as_bytes(std::span(code)); }

CodeSummary Summarize(const Code& code, int capability = 90) {
  const StatusOr<CodeSummary> summary = SummarizeCode(Bytes(code), capability);
  EXPECT_TRUE(summary.ok()) << summary.status().message();
  return summary.ok() ? *summary : CodeSummary();
}

/// A product: a loop of 6 instructions with two on tensor cores, then a store and a load of local memory.
Code ProductCode(int capability) {
  return {Instruction(kIadd3),
          Instruction(kLds),
          Instruction(kHmma),
          Instruction(kHmma),
          Instruction(kFfma),
          Instruction(kIadd3),
          Branch(6, 1, kIfP0, capability),
          Instruction(kStl),
          Instruction(kLdl),
          Instruction(kUnknown),
          Instruction(kExit),
          Branch(11, 11, kAlways, capability)};
}

TEST(MachineCodeTest, CountsByKind) {
  for (const int capability : {80, 86, 89, 90, 100, 120}) {
    const CodeSummary summary = Summarize(ProductCode(capability), capability);
    // tensor, floating, integer, memory, control, other
    EXPECT_THAT(summary.all.by_kind, ElementsAre(2, 1, 2, 3, 3, 1)) << capability;
    EXPECT_THAT(summary.main_loop.by_kind, ElementsAre(2, 1, 1, 1, 1, 0)) << capability;
    EXPECT_DOUBLE_EQ(summary.main_loop.share(InstructionKind::kFloating), 1.0 / 6);
    EXPECT_EQ(summary.local_loads, 1);
    EXPECT_EQ(summary.local_stores, 1);
  }
}

TEST(MachineCodeTest, BranchesAsNvdisasmShowsThem) {
  // sm_80: at 0x6a0, @!P0 BRA to 0x3d0; sm_90a: at 0x6e0, @!P0 BRA to 0x410. The target is where the loop begins.
  const std::array<uint64_t, 2> sm_80 = {0xfffffd2000008947, 0x000fea000383ffff};
  const std::array<uint64_t, 2> sm_90 = {0xfffffffc00488947, 0x000fea000383ffff};
  Code code(0x6b, Instruction(kIadd3));
  code[0x3d] = Instruction(kHmma);
  code[0x6a] = sm_80;
  EXPECT_EQ(Summarize(code, 80).main_loop.total(), 0x6a - 0x3d + 1);
  code.insert(code.begin(), 4, Instruction(kIadd3));
  code[0x6e] = sm_90;
  EXPECT_EQ(Summarize(code, 90).main_loop.total(), 0x6e - 0x41 + 1);
}

TEST(MachineCodeTest, OpcodesOfTwoMeanings) {
  Code code = {Instruction(kIadd), Instruction(kFmul2), Instruction(kHfma2)};
  EXPECT_THAT(Summarize(code, 90).all.by_kind, ElementsAre(0, 3, 0, 0, 0, 0));
  EXPECT_THAT(Summarize(code, 100).all.by_kind, ElementsAre(0, 2, 1, 0, 0, 0));
  code[1][1] |= uint64_t{1} << 27;    // uniform: UVIMNMX
  code[2][0] |= uint64_t{255} << 24;  // 0 times something: loads a constant
  EXPECT_THAT(Summarize(code, 100).all.by_kind, ElementsAre(0, 0, 3, 0, 0, 0));
}

TEST(MachineCodeTest, MainLoopIsInnermost) {
  const Code code = {Instruction(kHmma),  // the outer loop, 0 to 6
                     Instruction(kIadd3), Instruction(kHmma),  Instruction(kHmma), Branch(4, 1, kIfP0),
                     Instruction(kFfma),  Branch(6, 0, kIfP0), Instruction(kExit)};
  EXPECT_THAT(Summarize(code).main_loop.by_kind, ElementsAre(2, 0, 1, 0, 1, 0));
}

TEST(MachineCodeTest, MainLoopIsTheUnrolledOne) {
  const Code code = {Instruction(kHmma), Instruction(kHmma),  Instruction(kHmma), Branch(3, 0, kIfP0),
                     Instruction(kHmma), Branch(5, 4, kIfP0), Instruction(kExit)};
  EXPECT_THAT(Summarize(code).main_loop.by_kind, ElementsAre(3, 0, 0, 0, 1, 0));
}

TEST(MachineCodeTest, MainLoopMayHoldARareLoop) {
  const Code code = {Instruction(kHmma), Branch(1, 4, kIfP0), Instruction(kHmma), Branch(3, 2, kIfP0),
                     Instruction(kHmma), Branch(5, 0, kIfP0), Instruction(kExit)};
  EXPECT_THAT(Summarize(code).main_loop.by_kind, ElementsAre(3, 0, 0, 0, 3, 0));
}

TEST(MachineCodeTest, WaysBackFromAMovedBlockAreNoLoops) {
  // The loop, 0 to 3, goes to 5 in a rare case, which comes back to 2: from 2 nothing leads to 6 but by way of 0.
  const Code code = {Branch(0, 5, kIfP0), Instruction(kIadd3), Instruction(kHmma),   Branch(3, 0, kIfP0),
                     Instruction(kExit),  Instruction(kHmma),  Branch(6, 2, kAlways)};
  EXPECT_THAT(Summarize(code).main_loop.by_kind, ElementsAre(1, 0, 1, 0, 2, 0));
}

TEST(MachineCodeTest, LoopsWithoutTensorCores) {
  const Code code = {Instruction(kFfma), Branch(1, 0, kIfP0), Instruction(kHmma), Instruction(kExit)};
  EXPECT_EQ(Summarize(code).main_loop.total(), 0);
  EXPECT_EQ(Summarize({}).all.total(), 0);
}

TEST(MachineCodeTest, Errors) {
  const Code code = {Instruction(kExit)};
  EXPECT_EQ(SummarizeCode(Bytes(code).first(15), 90).status().message(), "code has 15 bytes, not a multiple of 16");
  EXPECT_EQ(SummarizeCode(Bytes(code), 75).status().code(), StatusCode::kUnimplemented);
  EXPECT_THAT(SummarizeCode(Bytes(code), 75).status().message(), HasSubstr("compute capability 7.5, expected 8.0 to"));
}

/// An ELF file with a function `product`; tests change it before it is packed, or its bytes after that.
struct CubinDraft {
  int capability = 90;
  Code code = ProductCode(90);
  std::vector<uint32_t> attributes = {0x00082f04, 1, 126, 0x00081204, 1, 48, 0x00004c02};  // in .nv.info
  uint64_t shared_section_bytes = 1024 + 256;
  std::string text_name = ".text.product";
  std::function<void(Elf64_Ehdr&, std::vector<Elf64_Shdr>&)> change = [](Elf64_Ehdr&, std::vector<Elf64_Shdr>&) {};

  std::vector<std::byte> Pack() const {
    std::string strings(1, '\0');
    std::vector<std::byte> file(sizeof(Elf64_Ehdr));
    std::vector<Elf64_Shdr> sections(1);
    const auto name = [&](std::string_view text) {
      strings.append(text).push_back('\0');
      return static_cast<uint32_t>(strings.size() - text.size() - 1);
    };
    const auto add = [&](uint32_t name, uint32_t type, std::span<const std::byte> bytes) {
      Elf64_Shdr& section = sections.emplace_back();
      section.sh_name = name;
      section.sh_type = type;
      section.sh_offset = file.size();
      section.sh_size = bytes.size();
      file.insert(file.end(), bytes.begin(), bytes.end());
    };
    std::vector<Elf64_Sym> symbols(2);
    symbols[1].st_name = name("product");
    add(name(text_name), SHT_PROGBITS, Bytes(code));
    add(name(".nv.info"), SHT_LOPROC, std::as_bytes(std::span(attributes)));
    add(name(".symtab"), SHT_SYMTAB, std::as_bytes(std::span(symbols)));
    sections.back().sh_link = 5;
    add(name(".nv.shared.product"), SHT_NOBITS, {});
    sections.back().sh_size = shared_section_bytes;
    const uint32_t strtab = name(".strtab");
    add(strtab, SHT_STRTAB, std::as_bytes(std::span(strings)));

    Elf64_Ehdr header = {};
    std::memcpy(header.e_ident,
                "\x7f"
                "ELF\2\1\1\x41\x08",
                9);
    header.e_machine = EM_CUDA;
    header.e_shoff = file.size();
    header.e_flags = static_cast<uint32_t>(0x06000002 | capability << 8);
    header.e_shentsize = sizeof(Elf64_Shdr);
    header.e_shnum = static_cast<uint16_t>(sections.size());
    header.e_shstrndx = 5;
    change(header, sections);
    std::memcpy(file.data(), &header, sizeof(header));
    const auto table = std::as_bytes(std::span(sections));
    file.insert(file.end(), table.begin(), table.end());
    return file;
  }
};

TEST(CubinTest, ReadsFunction) {
  const std::vector<std::byte> file = CubinDraft().Pack();
  const StatusOr<std::vector<CubinFunction>> functions = ReadCubin(file);
  ASSERT_TRUE(functions.ok()) << functions.status().message();
  ASSERT_EQ(functions->size(), 1);
  const CubinFunction& function = functions->front();
  EXPECT_EQ(function.name, "product");
  EXPECT_EQ(function.capability, 90);
  EXPECT_EQ(function.registers, 126);
  EXPECT_EQ(function.stack_bytes, 48);
  EXPECT_EQ(function.shared_bytes, 256);  // a KiB of the section is the system's
  EXPECT_EQ(function.code.all.total(), 12);
  EXPECT_EQ(function.code.main_loop.total(), 6);
}

TEST(CubinTest, SharedMemoryBefore9_0) {
  const std::vector<std::byte> file = CubinDraft{.capability = 80, .code = ProductCode(80)}.Pack();
  const StatusOr<std::vector<CubinFunction>> functions = ReadCubin(file);
  ASSERT_TRUE(functions.ok()) << functions.status().message();
  EXPECT_EQ(functions->front().shared_bytes, 1024 + 256);
  EXPECT_EQ(functions->front().code.main_loop.total(), 6);
}

TEST(CubinTest, UnalignedFile) {
  std::vector<std::byte> file = CubinDraft().Pack();
  file.insert(file.begin(), std::byte{0});
  EXPECT_TRUE(ReadCubin(std::span(file).subspan(1)).ok());
}

struct Damage {
  const char* name;
  std::function<void(CubinDraft&)> apply;
  StatusCode code;
  const char* message;
};

void PrintTo(const Damage& damage, std::ostream* out) { *out << damage.name; }

void ChangeHeader(CubinDraft& draft, void (*change)(Elf64_Ehdr&)) {
  draft.change = [change](Elf64_Ehdr& header, std::vector<Elf64_Shdr>&) { change(header); };
}

template <int kSection>
void ChangeSection(CubinDraft& draft, void (*change)(Elf64_Shdr&)) {
  draft.change = [change](Elf64_Ehdr&, std::vector<Elf64_Shdr>& sections) { change(sections[kSection]); };
}

constexpr StatusCode kDataLoss = StatusCode::kDataLoss, kUnimplemented = StatusCode::kUnimplemented;

const Damage kDamages[] = {
    {"magic", [](CubinDraft& d) { ChangeHeader(d, [](Elf64_Ehdr& h) { h.e_ident[1] = 'e'; }); }, kDataLoss,
     "not a little-endian ELF file of 64 bits for machine 190"},
    {"machine", [](CubinDraft& d) { ChangeHeader(d, [](Elf64_Ehdr& h) { h.e_machine = EM_X86_64; }); }, kDataLoss,
     "not a little-endian ELF file"},
    {"abi", [](CubinDraft& d) { ChangeHeader(d, [](Elf64_Ehdr& h) { h.e_ident[EI_ABIVERSION] = 7; }); }, kUnimplemented,
     "ABI version 7, expected 8"},
    {"capability", [](CubinDraft& d) { d.capability = 75; }, kUnimplemented,
     "compute capability 7.5, expected 8.0 to 12.9; in function 'product'"},
    {"entry_size", [](CubinDraft& d) { ChangeHeader(d, [](Elf64_Ehdr& h) { h.e_shentsize = 40; }); }, kDataLoss,
     "section headers of 40 bytes, expected 64"},
    {"sections_outside", [](CubinDraft& d) { ChangeHeader(d, [](Elf64_Ehdr& h) { h.e_shoff = ~uint64_t{0}; }); },
     kDataLoss, "section headers: 6 x 64 bytes at byte 18446744073709551615"},
    {"many_sections", [](CubinDraft& d) { ChangeHeader(d, [](Elf64_Ehdr& h) { h.e_shnum = 7; }); }, kDataLoss,
     "section headers: 7 x 64 bytes"},
    {"no_names", [](CubinDraft& d) { ChangeHeader(d, [](Elf64_Ehdr& h) { h.e_shstrndx = 6; }); }, kDataLoss,
     "section 6 of 6"},
    {"name_outside", [](CubinDraft& d) { ChangeSection<1>(d, [](Elf64_Shdr& s) { s.sh_name = 9999; }); }, kDataLoss,
     "string at byte 9999 of section 5"},
    {"name_too_long", [](CubinDraft& d) { d.text_name += std::string(2000, 'x'); }, kDataLoss, "does not end in 1024"},
    {"code_outside", [](CubinDraft& d) { ChangeSection<1>(d, [](Elf64_Shdr& s) { s.sh_offset = ~uint64_t{0} - 8; }); },
     kDataLoss, "section 1 has 192 bytes at byte 18446744073709551607"},
    {"code_too_large", [](CubinDraft& d) { ChangeSection<1>(d, [](Elf64_Shdr& s) { s.sh_size = ~uint64_t{0}; }); },
     kDataLoss, "section 1 has 18446744073709551615 bytes"},
    {"code_odd", [](CubinDraft& d) { ChangeSection<1>(d, [](Elf64_Shdr& s) { s.sh_size -= 8; }); }, kDataLoss,
     "code has 184 bytes, not a multiple of 16; in function 'product'"},
    {"code_overlaps",
     [](CubinDraft& d) {
       d.change = [](Elf64_Ehdr& header, std::vector<Elf64_Shdr>& sections) {
         sections.resize(20, sections[1]);
         header.e_shnum = 20;
       };
     },
     kDataLoss, "sections of code take"},
    {"no_symbols", [](CubinDraft& d) { ChangeSection<3>(d, [](Elf64_Shdr& s) { s.sh_type = SHT_NULL; }); }, kDataLoss,
     "no symbols"},
    {"symbol_names", [](CubinDraft& d) { ChangeSection<3>(d, [](Elf64_Shdr& s) { s.sh_link = 77; }); }, kDataLoss,
     "section 77 of 6"},
    {"other_function", [](CubinDraft& d) { d.text_name = ".text.other"; }, kDataLoss,
     "function 'other' has no number of registers"},
    {"attribute_symbol", [](CubinDraft& d) { d.attributes[1] = 2; }, kDataLoss, "attribute 0x2f of symbol 2 of 2"},
    {"attribute_short", [](CubinDraft& d) { d.attributes = {0x00042f04, 1}; }, kDataLoss, "attribute: 2 x 4 bytes"},
    {"attribute_long", [](CubinDraft& d) { d.attributes = {0x00ff2f04, 1}; }, kDataLoss,
     "attribute 0x2f has 255 bytes, of 4 left"},
};

class CubinDamageTest : public ::testing::TestWithParam<Damage> {};

TEST_P(CubinDamageTest, IsFound) {
  CubinDraft draft;
  GetParam().apply(draft);
  const std::vector<std::byte> file = draft.Pack();
  const StatusOr<std::vector<CubinFunction>> functions = ReadCubin(file);
  ASSERT_FALSE(functions.ok());
  EXPECT_EQ(functions.status().code(), GetParam().code);
  EXPECT_THAT(functions.status().message(), HasSubstr(GetParam().message));
}

INSTANTIATE_TEST_SUITE_P(All, CubinDamageTest, ::testing::ValuesIn(kDamages),
                         [](const auto& info) { return info.param.name; });

// The rest is for the sanitizers: each copy has exactly the bytes that may be read.
TEST(CubinTest, EveryPrefixIsRefused) {
  const std::vector<std::byte> file = CubinDraft().Pack();
  for (size_t size = 0; size < file.size(); ++size) {
    const std::vector<std::byte> prefix(file.begin(), file.begin() + static_cast<ptrdiff_t>(size));
    EXPECT_EQ(ReadCubin(prefix).status().code(), kDataLoss) << size;
  }
}

TEST(CubinTest, FlippedBytesDoNoHarm) {
  constexpr uint64_t kSeed = 20240521;
  SCOPED_TRACE(kSeed);
  std::mt19937_64 random(kSeed);
  const std::vector<std::byte> file = CubinDraft().Pack();
  int refused = 0;
  for (int round = 0; round < 20000; ++round) {
    std::vector<std::byte> copy = file;
    for (uint64_t flips = 1 + random() % 4; flips > 0; --flips) {
      copy[random() % copy.size()] ^= static_cast<std::byte>(1 + random() % 255);
    }
    const StatusOr<std::vector<CubinFunction>> functions = ReadCubin(copy);
    refused += functions.ok() ? 0 : 1;
    EXPECT_TRUE(functions.ok() || !functions.status().message().empty());
  }
  EXPECT_GT(refused, 0);
  EXPECT_LT(refused, 20000);
}

}  // namespace
}  // namespace nemotron::runtime
