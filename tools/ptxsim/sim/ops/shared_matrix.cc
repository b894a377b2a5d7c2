// ldmatrix and stmatrix: PTX ISA 9.0, sections 9.7.14.5.15 and 9.7.14.5.16. A matrix has 8 rows of 8 values of 16 bits.
// Lane 8 * m + i gives the address of row i of matrix m; lane t holds values (t / 4, 2 * (t % 4)) and the one right of
// it, or, with `.trans`, the same of the transposed matrix.
#include <bit>
#include <cstring>

#include "tools/ptxsim/sim/access.h"
#include "tools/ptxsim/sim/block.h"
#include "tools/ptxsim/sim/decoder.h"
#include "tools/ptxsim/sim/lanes.h"
#include "tools/ptxsim/sim/ops/memory_ops.h"
#include "tools/ptxsim/sim/ops/warp_ops.h"

namespace nemotron::ptxsim {
namespace {

constexpr int kSide = 8;
constexpr uint32_t kRowBytes = 16;
using Matrix = std::array<std::array<uint16_t, kSide>, kSide>;

/// Rows of all matrices are one access of 16 bytes for each of the first lanes; each matrix is a pass of its own.
template <int kMatrices>
bool ResolveRows(Warp& warp, const Op& op, AccessKind kind, uint32_t address_row, Access& access) {
  StartAccess(warp, op, static_cast<uint32_t>((uint64_t{1} << (kSide * kMatrices)) - 1), kind, kRowBytes, address_row,
              access);
  access.counts = false;
  if (!Resolve(warp, op, access)) {
    return false;
  }
  for (int matrix = 0; matrix < kMatrices; ++matrix) {
    CountWavefronts(warp, access.address.data(), 0xffu << (kSide * matrix), kRowBytes);
  }
  return true;
}

/// Rows: results, address.
template <int kMatrices, bool kTransposes>
Flow LoadMatrices(Warp& warp, const Op& op, uint32_t mask) {
  if (const Membership membership = GatherWarp(warp, op, mask); membership != Membership::kComplete) {
    return FlowOf(membership);
  }
  Access access;
  if (!ResolveRows<kMatrices>(warp, op, AccessKind::kLoad, op.rows[kMatrices], access)) {
    return Flow::kStop;
  }
  for (int m = 0; m < kMatrices; ++m) {
    Matrix matrix;
    for (int i = 0; i < kSide; ++i) {
      std::memcpy(matrix[i].data(), access.host[kSide * m + i], kRowBytes);
    }
    uint32_t* result = warp.Row<uint32_t>(op.rows[m]);
    for (int lane = 0; lane < kWarpSize; ++lane) {
      const int row = lane / 4, column = lane % 4 * 2;
      result[lane] = kTransposes ? matrix[column][row] | uint32_t{matrix[column + 1][row]} << 16
                                 : matrix[row][column] | uint32_t{matrix[row][column + 1]} << 16;
    }
  }
  return Flow::kNext;
}

/// Rows: address, values.
template <int kMatrices, bool kTransposes>
Flow StoreMatrices(Warp& warp, const Op& op, uint32_t mask) {
  if (const Membership membership = GatherWarp(warp, op, mask); membership != Membership::kComplete) {
    return FlowOf(membership);
  }
  Access access;
  if (!ResolveRows<kMatrices>(warp, op, AccessKind::kStore, op.rows[0], access)) {
    return Flow::kStop;
  }
  std::array<Matrix, kMatrices> matrices;
  for (int m = 0; m < kMatrices; ++m) {
    const uint32_t* value = warp.Row<uint32_t>(op.rows[1 + m]);
    for (int lane = 0; lane < kWarpSize; ++lane) {
      const int row = lane / 4, column = lane % 4 * 2;
      for (int i = 0; i < 2; ++i) {
        (kTransposes ? matrices[m][column + i][row] : matrices[m][row][column + i]) =
            static_cast<uint16_t>(value[lane] >> (16 * i));
      }
    }
    for (int i = 0; i < kSide; ++i) {
      std::memcpy(access.host[kSide * m + i], matrices[m][i].data(), kRowBytes);
    }
  }
  return CheckStored(warp, op, access, reinterpret_cast<const std::byte*>(matrices.data())) ? Flow::kNext : Flow::kStop;
}

template <bool kLoads>
constexpr Handler kHandlers[3][2] = {{kLoads ? &LoadMatrices<1, false> : &StoreMatrices<1, false>,
                                      kLoads ? &LoadMatrices<1, true> : &StoreMatrices<1, true>},
                                     {kLoads ? &LoadMatrices<2, false> : &StoreMatrices<2, false>,
                                      kLoads ? &LoadMatrices<2, true> : &StoreMatrices<2, true>},
                                     {kLoads ? &LoadMatrices<4, false> : &StoreMatrices<4, false>,
                                      kLoads ? &LoadMatrices<4, true> : &StoreMatrices<4, true>}};

template <bool kLoads>
void DecodeMatrix(Decoder& d) {
  d.CountAs(InstructionClass::kMemory);
  if (!kLoads) {
    d.Requires(90, "stmatrix");
  }
  const bool known = d.Take("sync") && d.Take("aligned") && d.Take("m8n8");
  const int count = d.TakeOneOf({"x1", "x2", "x4"});
  const bool transposes = d.Take("trans");
  const MemoryModifiers modifiers = TakeMemoryModifiers(d);
  const Format format = d.TakeFormat();
  if (!known || count < 0 || format != Format::kB16) {
    return d.Fail("the simulator has this for '.sync.aligned.m8n8' matrices of '.b16'");
  }
  const auto elements = d.Elements(kLoads ? 0 : 1);
  if (static_cast<int>(elements.size()) != 1 << count) {
    return d.Fail(fmt::format("expected {} registers, found {}", 1 << count, elements.size()));
  }
  std::vector<uint32_t> rows;
  for (const Operand* element : elements) {
    rows.push_back(kLoads ? d.Result(*element, Format::kB32) : d.Source(*element, Format::kB32));
  }
  const auto address = d.Address(kLoads ? 1 : 0);
  const Handler handler = kHandlers<kLoads>[count][transposes];
  if (kLoads) {
    SetMemoryOptions(d.Emit(handler, rows, std::span(&address.row, 1)), modifiers, address);
  } else {
    rows.insert(rows.begin(), address.row);
    SetMemoryOptions(d.Emit(handler, {}, rows), modifiers, address);
  }
}

constexpr OpcodeEntry kOpcodes[] = {
    {"ldmatrix", std::nullopt, DecodeMatrix<true>},
    {"stmatrix", std::nullopt, DecodeMatrix<false>},
};

}  // namespace

std::span<const OpcodeEntry> SharedMatrixOpcodes() { return kOpcodes; }

}  // namespace nemotron::ptxsim
