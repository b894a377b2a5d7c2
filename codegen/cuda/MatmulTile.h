//===- MatmulTile.h - how a block of a matrix product is cut ----------------------------------------------------*- C++
//-*-===//
#ifndef CODEGEN_CUDA_MATMULTILE_H
#define CODEGEN_CUDA_MATMULTILE_H

#include <algorithm>
#include <cstdint>
#include <string>

#include "llvm/ADT/StringRef.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/MathExtras.h"

namespace nemotron::codegen {

/// Shared memory that a block of every architecture has: 99 KiB on sm_89 and sm_120.
inline constexpr int64_t kSharedBytes = 99 * 1024;

/// A product in terms of bytes (kernels/matmul_slabs.cuh).
struct MatmulShape {
  int64_t inputBytes, weightBytes; ///< of an element
  int64_t outputs, depth;
  bool quantizes = false; ///< blocks make the inputs of F32 (kernels/quantized_rows.cuh)

  int64_t bands() const { return llvm::divideCeil(outputs, 16); }
};

/// The `Tile` of kernels/matmul_slabs.cuh.
struct MatmulTile {
  llvm::StringRef name, function;
  int64_t upTo; ///< rows that it is for
  int64_t warpsN, warpsT, bands, rowTiles, slabTiles, stages;

  int64_t blockBands() const { return warpsN * bands; }
  int64_t blockRows() const { return warpsT * rowTiles * 8; }
  int64_t threads() const { return 32 * warpsN * warpsT; }
  int64_t blocks(const MatmulShape &shape) const { return llvm::divideCeil(shape.bands(), blockBands()); }

  /// Bytes from a row of a slab to the next, of elements of `inputBytes`.
  int64_t rowPitch(int64_t inputBytes, int64_t weightBytes) const {
    const int64_t padding = inputBytes == weightBytes ? 0 : inputBytes == 4 ? 64 / weightBytes : 32;
    return slabTiles * 32 / weightBytes * inputBytes + padding;
  }

  /// Of the ring, and if blocks make the inputs those of a slab and a scale a row.
  int64_t sharedBytes(const MatmulShape &shape) const {
    const int64_t stagedBytes = shape.quantizes ? 4 : shape.inputBytes;
    const int64_t operandBytes = shape.quantizes ? rowPitch(shape.inputBytes, shape.weightBytes) + 4 : 0;
    return stages * (blockBands() * slabTiles * 512 + blockRows() * rowPitch(stagedBytes, shape.weightBytes)) +
           blockRows() * operandBytes;
  }

  /// For up to 8 rows that blocks quantize: of F32 they take four times the room, so slabs are half as deep. As many
  /// are on their way as let a multiprocessor of an A100 have two blocks: of W it wants some 20 KiB, 25 bytes a
  /// nanosecond for 800 of them.
  MatmulTile quantizing(const MatmulShape &shape, int64_t bytes = kSharedBytes) const {
    MatmulTile tile = *this, deeper = tile;
    deeper.slabTiles = 8;
    for (deeper.stages = 2; deeper.sharedBytes(shape) <= std::min<int64_t>(bytes, 80 * 1024); ++deeper.stages) {
      tile = deeper;
    }
    return tile;
  }

  /// Makes it smaller until its ring fits: F32 inputs take more room than others.
  MatmulTile &fit(const MatmulShape &shape, int64_t bytes = kSharedBytes) {
    while (sharedBytes(shape) > bytes) {
      if (slabTiles > 4) {
        slabTiles -= 4;
      } else if (stages > 2) {
        --stages;
      } else {
        rowTiles /= 2;
      }
    }
    return *this;
  }

  /// The struct that a body takes as `Tile`.
  std::string declaration() const {
    return llvm::formatv("struct {0} {{\n  static constexpr int kWarpsN = {1}, kWarpsT = {2}, kBands = {3}, "
                         "kRowTiles = {4}, kSlabTiles = {5}, kStages = {6};\n};",
                         name, warpsN, warpsT, bands, rowTiles, slabTiles, stages)
        .str();
  }
};

} // namespace nemotron::codegen

#endif // CODEGEN_CUDA_MATMULTILE_H
