#include "runtime/plan/machine_code.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <initializer_list>
#include <iterator>
#include <map>
#include <set>
#include <vector>

namespace nemotron::runtime {
namespace {

// NVIDIA does not publish the encoding. What stands here was read off nvdisasm 13.2.51 (options -c -hex): the code of
// all our kernels, and of test kernels for what they lack (FP64, packed halves, atomics, bulk copies, wgmma, tcgen05,
// block-scaled and sparse mma), which nvcc and NVRTC 13.0.88 made for sm_80, 86, 89, 90a, 100a and 120a. Each name
// below was seen there with its number; all others are kOther. For these 403 functions the counts by kind, and of the
// main loop, are those that follow from the mnemonics and labels that nvdisasm prints, with loops found by dominators.
constexpr size_t kInstructionBytes = 16;
constexpr int kFirstCapability = 80, kLastCapability = 129;
constexpr uint64_t kTrue = 7;  // a predicate register that always holds

// The opcode is in the low 9 bits; bits 9 to 11 say where operands come from.
constexpr size_t kNumOpcodes = 512;
// These depend on more than that, see Instruction::kind.
constexpr uint32_t kHfma2 = 0x031, kHfma2OrIadd = 0x035, kFmul2OrUvimnmx = 0x04a;
constexpr uint32_t kBra = 0x147, kBrx = 0x149, kExit = 0x14d, kRet = 0x150, kLdl = 0x183, kStl = 0x187;

constexpr std::array<InstructionKind, kNumOpcodes> kKinds = [] {
  std::array<InstructionKind, kNumOpcodes> kinds;
  kinds.fill(InstructionKind::kOther);
  const auto are = [&](InstructionKind kind, std::initializer_list<uint32_t> opcodes) {
    for (const uint32_t opcode : opcodes) {
      kinds[opcode] = kind;
    }
  };
  // clang-format off
  are(InstructionKind::kTensor, {
      /*IMMA*/ 0x037, /*HMMA*/ 0x03c, /*BMMA*/ 0x03d, /*DMMA*/ 0x03f, /*QMMA*/ 0x07a, /*OMMA*/ 0x07f,
      /*UTCHMMA, UTCIMMA, UTCOMMA, UTCQMMA*/ 0x1ea, /*HGMMA*/ 0x1f0, /*IGMMA*/ 0x1f1, /*QGMMA*/ 0x1f3});
  are(InstructionKind::kFloating, {
      /*FSEL*/ 0x008, /*FMNMX*/ 0x009, /*FSETP*/ 0x00b, /*FMUL*/ 0x020, /*FADD*/ 0x021, /*FFMA*/ 0x023,
      /*DMUL*/ 0x028, /*DADD*/ 0x029, /*DSETP*/ 0x02a, /*DFMA*/ 0x02b, /*HADD2*/ 0x030, /*HMUL2*/ 0x032,
      /*HSET2*/ 0x033, /*F2FP*/ 0x03e, /*HMNMX2*/ 0x040, /*I2FP*/ 0x045, /*FFMA2*/ 0x049, /*FADD2*/ 0x04b,
      /*UFADD*/ 0x054, /*UFFMA*/ 0x055, /*UFMUL*/ 0x056, /*UI2F*/ 0x05a, /*FMNMX3*/ 0x076, /*FCHK*/ 0x102,
      /*F2I*/ 0x105, 0x111, /*I2F*/ 0x106, 0x112, /*FRND*/ 0x107, 0x113, /*MUFU*/ 0x108, /*F2F*/ 0x104, 0x110});
  are(InstructionKind::kInteger, {
      /*MOV*/ 0x002, /*P2R*/ 0x003, /*CS2R*/ 0x005, /*SEL*/ 0x007, /*ISETP*/ 0x00c, /*IADD3*/ 0x010, /*LEA*/ 0x011,
      /*LOP3*/ 0x012, /*IABS*/ 0x013, /*VABSDIFF*/ 0x014, /*VABSDIFF4*/ 0x015, /*PRMT*/ 0x016, /*IMNMX*/ 0x017,
      /*SHF*/ 0x019, /*SGXT*/ 0x01a, /*BMSK*/ 0x01b, /*PLOP3*/ 0x01c, /*IMAD*/ 0x024, 0x025, 0x027, /*IDP*/ 0x026,
      /*VIADD*/ 0x036, /*I2IP*/ 0x039, /*VIADDMNMX*/ 0x046, /*VIMNMX*/ 0x048, /*UMOV*/ 0x082, /*USEL*/ 0x087,
      /*UISETP*/ 0x08c, /*UIADD3*/ 0x090, 0x097, /*ULEA*/ 0x091, /*ULOP3*/ 0x092, /*USHF*/ 0x099, /*UPLOP3*/ 0x09c,
      /*UIMAD*/ 0x0a4, 0x0a5, /*UFLO*/ 0x0bd, /*R2UR*/ 0x0ca, 0x1c2, /*FLO*/ 0x100, /*BREV*/ 0x101, /*POPC*/ 0x109,
      /*S2R*/ 0x119, /*S2UR*/ 0x1c3});
  are(InstructionKind::kMemory, {
      /*VOTE*/ 0x006, /*MOVM*/ 0x03a, /*LDSM*/ 0x03b, /*STSM*/ 0x044, /*VOTEU*/ 0x086, /*ULDC*/ 0x0b9,
      /*CREDUX*/ 0x0cc, /*LD*/ 0x180, /*LDG*/ 0x181, /*LDC*/ 0x182, kLdl, /*LDS*/ 0x184, /*ST*/ 0x185, /*STG*/ 0x186,
      kStl, /*STS*/ 0x188, /*SHFL*/ 0x189, /*ATOM*/ 0x18a, 0x18b, 0x1a2, /*ATOMS*/ 0x18c, 0x18d, /*RED*/ 0x18e,
      /*CCTL*/ 0x18f, /*MATCH*/ 0x1a1, /*ATOMG*/ 0x1a3, 0x1a8, 0x1a9, /*SYNCS*/ 0x1a7, 0x1b2, /*QSPC*/ 0x1aa,
      /*LDCU*/ 0x1ac, /*LDGSTS*/ 0x1ae, /*LDGDEPBAR*/ 0x1af, /*UTMALDG*/ 0x1b4, /*UTMASTG*/ 0x1b5,
      /*UTMACMDFLUSH*/ 0x1b7, /*UTMACCTL*/ 0x1b9, /*UBLKCP*/ 0x1ba, /*UBLKRED*/ 0x1bb, /*REDUX*/ 0x1c4,
      /*UTCATOMSWS*/ 0x1e3, /*UTCCP*/ 0x1e7, /*STTM*/ 0x1ed, /*LDTM*/ 0x1ee});
  are(InstructionKind::kControl, {
      /*PREEXIT*/ 0x02d, /*ACQBULK*/ 0x02e, /*ELECT*/ 0x02f, /*UVIRTCOUNT*/ 0x04c, /*NOP*/ 0x118, /*DEPBAR*/ 0x11a,
      /*ENDCOLLECTIVE*/ 0x11b, /*B2R*/ 0x11c, /*BAR*/ 0x11d, /*BSYNC*/ 0x141, /*BREAK*/ 0x142, /*CALL*/ 0x143, 0x144,
      /*BSSY*/ 0x145, /*YIELD*/ 0x146, kBra, /*WARPSYNC*/ 0x148, kBrx, kExit, /*LEPC*/ 0x14e, kRet, /*BPT*/ 0x15c,
      /*NANOSLEEP*/ 0x15d, /*MEMBAR*/ 0x192, /*ERRBAR, CGAERRBAR*/ 0x1ab, /*WARPGROUP*/ 0x1c5, /*FENCE*/ 0x1c6,
      /*UCGABAR_ARV, UCGABAR_WAIT*/ 0x1c7, /*UTCBAR*/ 0x1e9});
  // clang-format on
  return kinds;
}();

struct Instruction {
  uint64_t low = 0, high = 0;

  uint32_t opcode() const { return low % kNumOpcodes; }

  InstructionKind kind(int capability) const {
    switch (opcode()) {
      case kHfma2OrIadd:  // HFMA2.MMA, until 10.0 gave the number to IADD
        if (capability >= 100) {
          return InstructionKind::kInteger;
        }
        [[fallthrough]];
      case kHfma2: {  // with register 255, which reads 0, as a factor it is how compilers load a constant
        const uint64_t factor = low >> 24 & 0xff;
        return factor == 255 ? InstructionKind::kInteger : InstructionKind::kFloating;
      }
      case kFmul2OrUvimnmx:  // bit 91 is set in uniform instructions
        return (high >> 27 & 1) != 0 ? InstructionKind::kInteger : InstructionKind::kFloating;
      default:
        return kKinds[opcode()];
    }
  }

  /// Whether what follows is never executed after it: nothing guards the instruction (bits 12 to 15), nor the branch
  /// itself, by a predicate (bits 87 to 90) or a uniform register (bit 91).
  bool ends_block() const {
    const bool leaves = opcode() == kBra || opcode() == kBrx || opcode() == kExit || opcode() == kRet;
    return leaves && (low >> 12 & 15) == kTrue && (high >> 23 & 31) == kTrue;
  }

  /// Where BRA goes, in bytes from the next instruction: bits 32 to 81, and from 9.0 on bits 34 to 81 above 16 to 23,
  /// in units of 4 bytes.
  int64_t branch_offset(int capability) const {
    const uint64_t upper = high << 46;  // bits 64 to 81 at the top, so that a shift right extends the sign
    if (capability < 90) {
      return static_cast<int64_t>(upper | low >> 32 << 14) >> 14;
    }
    return static_cast<int64_t>(upper | low >> 34 << 16 | (low >> 16 & 0xff) << 8) >> 8 << 2;
  }
};
static_assert(sizeof(Instruction) == kInstructionBytes && std::endian::native == std::endian::little);

/// First and last instruction of each loop; of those with one first instruction the longest.
using Loops = std::map<size_t, size_t>;

/// A walk through the code, depth first: a branch back closes a loop if the walk came to it through its target. Code
/// that nothing reaches, such as the cases of a switch, is walked from its first instruction.
Loops FindLoops(const std::vector<Instruction>& code, int capability) {
  enum class Visit : uint8_t { kNew, kOpen, kDone };
  struct Step {
    size_t at;
    int next = 0;  // successor to visit: 0 the following instruction, 1 the target of a branch
  };
  Loops loops;
  std::vector<Visit> visits(code.size(), Visit::kNew);
  std::vector<Step> path;
  const auto enter = [&](size_t at) {
    visits[at] = Visit::kOpen;
    path.push_back({at});
  };
  for (size_t root = 0; root < code.size(); ++root) {
    if (visits[root] == Visit::kNew) {
      enter(root);
    }
    while (!path.empty()) {
      const size_t at = path.back().at;
      const Instruction& instruction = code[at];
      size_t successor = code.size();  // none
      switch (path.back().next++) {
        case 0:
          successor = instruction.ends_block() ? code.size() : at + 1;
          break;
        case 1:
          if (instruction.opcode() == kBra) {  // a target before the code wraps to one beyond its end
            const int64_t offset = instruction.branch_offset(capability) / static_cast<int64_t>(kInstructionBytes);
            successor = at + 1 + static_cast<size_t>(offset);
          }
          break;
        default:
          visits[at] = Visit::kDone;
          path.pop_back();
          continue;
      }
      if (successor >= code.size()) {
        continue;
      }
      if (visits[successor] == Visit::kNew) {
        enter(successor);
      } else if (visits[successor] == Visit::kOpen && successor <= at) {
        size_t& last = loops[successor];
        last = std::max(last, at);
      }
    }
  }
  return loops;
}

InstructionCounts CountMainLoop(const std::vector<InstructionKind>& kinds, const Loops& loops) {
  std::set<size_t> products;  // of tensor cores, those around which no loop was found yet
  for (size_t i = 0; i < kinds.size(); ++i) {
    if (kinds[i] == InstructionKind::kTensor) {
      products.insert(products.end(), i);
    }
  }
  ptrdiff_t most = 0;
  size_t main_first = 0, main_end = 0;
  for (auto loop = loops.rbegin(); loop != loops.rend(); ++loop) {  // what begins later is further inside
    const auto [first, last] = *loop;
    const auto begin = products.lower_bound(first), end = products.upper_bound(last);
    if (const ptrdiff_t own = std::distance(begin, end); own > most) {
      most = own;
      main_first = first;
      main_end = last + 1;
    }
    products.erase(begin, end);
  }
  InstructionCounts counts;
  for (size_t i = main_first; i < main_end; ++i) {
    counts.Add(kinds[i]);
  }
  return counts;
}

}  // namespace

StatusOr<CodeSummary> SummarizeCode(std::span<const std::byte> code, int capability) {
  if (capability < kFirstCapability || capability > kLastCapability) {
    return Unimplemented("machine code is for compute capability {}.{}, expected {}.{} to {}.{}", capability / 10,
                         capability % 10, kFirstCapability / 10, kFirstCapability % 10, kLastCapability / 10,
                         kLastCapability % 10);
  }
  if (code.size() % kInstructionBytes != 0) {
    return DataLoss("code has {} bytes, not a multiple of {}", code.size(), kInstructionBytes);
  }
  std::vector<Instruction> instructions(code.size() / kInstructionBytes);
  if (!code.empty()) {
    std::memcpy(instructions.data(), code.data(), code.size());
  }
  CodeSummary summary;
  std::vector<InstructionKind> kinds;
  kinds.reserve(instructions.size());
  for (const Instruction& instruction : instructions) {
    kinds.push_back(instruction.kind(capability));
    summary.all.Add(kinds.back());
    summary.local_loads += instruction.opcode() == kLdl ? 1 : 0;
    summary.local_stores += instruction.opcode() == kStl ? 1 : 0;
  }
  summary.main_loop = CountMainLoop(kinds, FindLoops(instructions, capability));
  return summary;
}

}  // namespace nemotron::runtime
