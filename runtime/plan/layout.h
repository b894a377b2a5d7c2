#ifndef RUNTIME_PLAN_LAYOUT_H_
#define RUNTIME_PLAN_LAYOUT_H_

#include <cstdint>

#include "runtime/base/dtype.h"

namespace nemotron::runtime {

/// The Panel layout, shared by the packer (codegen/cpu) and the matrix kernels (runtime/cpu).
///
/// A matrix W [N, K] is used as y = x * W^T. Its rows (outputs) are cut into panels of 16, the last one padded with
/// zero rows. Inside a panel, elements of K are interleaved so that one 64-byte vector holds the same k for all 16
/// rows:
///   F32:    [N/16][K][16]
///   BF16:   [N/16][K/2][16][2], pairs of neighbouring k, K padded with a zero to an even number
///   F8E4M3: [N/16][K/4][4][2][4][2], four neighbouring k, K padded with zeros to a multiple of 4
///   I8:     [N/16][K/4][16][4], four neighbouring k, K padded with zeros to a multiple of 4
/// A kernel then streams one panel from start to end, and every output is one chain of sums over k in ascending order,
/// however many rows of x are multiplied at once. That makes results independent of how a batch is cut into steps.
///
/// The 64 bytes of an F8E4M3 vector are, outermost first: 4 runs of 4 rows, 2 pairs of k, the 4 rows of the run, the 2
/// k of the pair. Every 16 bytes, a lane of AVX2 and AVX-512, hold 4 rows. A BF16 has two bytes, so a kernel decodes
/// the vector into one of low and one of high bytes, and interleaves their lower halves, then their upper halves, lane
/// by lane (punpcklbw, punpckhbw). Two vectors of BF16 come out, of the first and of the second pair of k, rows in
/// order, as in a BF16 panel: what multiplies BF16 multiplies these, in the same chain.
///
/// An I8 panel holds its numbers plus 128, as unsigned bytes: vpdpbusd multiplies unsigned by signed bytes, four of
/// them a 32-bit sum. With u = w + 128, sum(w * x) = sum(u * x) - 128 * sum(x), exactly, and sum(x) is one number a
/// row.
///
/// Example: N = 20, K = 3 in BF16 has two panels of 2 * 16 * 2 elements; W[17][2] lies at panel 1, pair 1, row 1, half
/// 0, element 64 + 32 + 2 = 98. In F8E4M3 it has two panels of 64 elements; W[17][2] lies at panel 1, run 0, pair 1,
/// row 1, half 0, element 64 + 8 + 2 = 74; in I8 at panel 1, row 1, k 2, element 64 + 4 + 2 = 70.
inline constexpr int64_t kPanelRows = 16;

/// What an I8 panel adds to its numbers.
inline constexpr int kI8PanelOffset = 128;

/// The largest K of an I8 matrix: products of -128 to 127 with -127 to 127 add up to less than 2^31.
inline constexpr int64_t kMaxI8Depth = ((int64_t{1} << 31) - 1) / (128 * 127);

/// Elements of K in a vector of 64 bytes: 1 of F32, 2 of BF16, 4 of F8E4M3 and I8.
constexpr int64_t PanelInterleave(DType dtype) { return IsCode(dtype) ? 4 : dtype == DType::kBF16 ? 2 : 1; }

constexpr bool IsPanelDType(DType dtype) { return dtype == DType::kF32 || dtype == DType::kBF16 || IsCode(dtype); }

/// K padded to the interleave.
constexpr int64_t PanelDepth(DType dtype, int64_t k) {
  const int64_t interleave = PanelInterleave(dtype);
  return (k + interleave - 1) / interleave * interleave;
}

constexpr int64_t NumPanels(int64_t n) { return (n + kPanelRows - 1) / kPanelRows; }

/// Rows of whole panels.
constexpr int64_t RoundUpToPanels(int64_t n) { return NumPanels(n) * kPanelRows; }

/// Elements of one panel.
constexpr int64_t PanelElements(DType dtype, int64_t k) { return kPanelRows * PanelDepth(dtype, k); }

/// Bytes of a packed matrix [n, k]. A stack of E matrices is E of these, one after another.
constexpr int64_t PanelMatrixBytes(DType dtype, int64_t n, int64_t k) {
  return NumPanels(n) * PanelElements(dtype, k) * SizeOf(dtype);
}

/// Where W[row][column] lies in the packed matrix, in elements.
constexpr int64_t PanelElementIndex(DType dtype, int64_t k, int64_t row, int64_t column) {
  const int64_t interleave = PanelInterleave(dtype), r = row % kPanelRows, j = column % interleave;
  const int64_t vector = row / kPanelRows * PanelElements(dtype, k) + column / interleave * (kPanelRows * interleave);
  return vector + (dtype == DType::kF8E4M3 ? r / 4 * 16 + j / 2 * 8 + r % 4 * 2 + j % 2 : r * interleave + j);
}

/// The Fragment layout, shared by the packer (codegen) and the tensor-core kernels (codegen/cuda/kernels/matmul.cuh).
///
/// Rows of W [N, K] are cut into bands of 16 as above, and a band into tiles of 16 rows by 32 bytes of K, 16 BF16 or 32
/// F8E4M3, zeros where the matrix ends. A tile is 512 bytes, 16 for each lane of a warp, and they are the lane's four
/// registers of operand A of mma.m16n8k16 (BF16) or m16n8k32 (E4M3), PTX ISA sections 9.7.14.5.8 and .9: lane l = 4 * g
/// + t has bytes 4t to 4t + 3 of row g, of row g + 8, and bytes 16 + 4t to 16 + 4t + 3 of row g and of row g + 8. So a
/// warp loads a tile with one 16-byte access a lane, from global or shared memory, with neither ldmatrix nor swizzles,
/// and a band is one stream of bytes.
///
/// Example: N = 20, K = 40 in BF16 has two bands of 3 tiles. W[17][25] lies in band 1, tile 1, row 1, byte 18 and 19 of
/// the tile's 32, so in lane 4 * 1 + 0, third register, upper half: byte 3 * 512 + 512 + 4 * 16 + 8 + 2 = 2122, element
/// 1061.
constexpr int64_t FragmentDepthOfTile(DType dtype) { return 32 / SizeOf(dtype); }

constexpr bool IsFragmentDType(DType dtype) { return dtype == DType::kBF16 || dtype == DType::kF8E4M3; }

/// K padded to whole tiles.
constexpr int64_t FragmentDepth(DType dtype, int64_t k) {
  const int64_t tile = FragmentDepthOfTile(dtype);
  return (k + tile - 1) / tile * tile;
}

/// Elements of one band.
constexpr int64_t FragmentElements(DType dtype, int64_t k) { return kPanelRows * FragmentDepth(dtype, k); }

/// Where W[row][column] lies in the packed matrix, in elements.
constexpr int64_t FragmentElementIndex(DType dtype, int64_t k, int64_t row, int64_t column) {
  const int64_t size = SizeOf(dtype), byte = column % FragmentDepthOfTile(dtype) * size, r = row % kPanelRows;
  const int64_t lane = 4 * (r % 8) + byte % 16 / 4, word = byte / 16 * 2 + r / 8;
  const int64_t tile = row / kPanelRows * FragmentElements(dtype, k) * size + column / FragmentDepthOfTile(dtype) * 512;
  return (tile + lane * 16 + word * 4 + byte % 4) / size;
}
static_assert(FragmentElementIndex(DType::kBF16, 40, 17, 25) == 1061);

/// A KV cache holds heads of this many elements: head_dim padded to whole panels, so that the keys and the values of a
/// page and a head are packed matrices.
constexpr int64_t KvCacheHeadDim(int64_t head_dim) { return RoundUpToPanels(head_dim); }

/// What `elements` in heads of head_dim, a multiple of it, take in a KV cache.
constexpr int64_t KvCacheElements(int64_t elements, int64_t head_dim) {
  return elements / head_dim * KvCacheHeadDim(head_dim);
}

/// Tokens of a chunk of the scan. Chunks begin at positions divisible by it; the slot keeps the inputs of one.
inline constexpr int64_t kScanChunk = 16;

}  // namespace nemotron::runtime

#endif  // RUNTIME_PLAN_LAYOUT_H_
