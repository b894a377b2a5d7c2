#ifndef RUNTIME_PLAN_PACKING_H_
#define RUNTIME_PLAN_PACKING_H_

#include <cstddef>
#include <cstdint>

#include "runtime/base/dtype.h"
#include "runtime/plan/layout.h"
#include "runtime/plan/plan_generated.h"

/// How 16 rows become a panel or a band (layout.h), by words of 4 bytes: an F32, a pair of BF16 or four codes. Elements
/// that a matrix does not have are zeros.
namespace nemotron::runtime {

/// Words of a row in a tile of layout Fragment.
inline constexpr int64_t kTileWords = 8;
inline constexpr int64_t kTileBytes = kPanelRows * kTileWords * 4;

using TileRows = uint32_t[kPanelRows][kTileWords];

/// Writes `num_words` vectors of a panel, 64 bytes each: vector i has word i of the 16 rows, which begin `stride` words
/// apart.
void PackPanelVectors(DType dtype, const uint32_t* rows, int64_t stride, int64_t num_words, std::byte* panel);

void PackFragmentTile(const TileRows& rows, std::byte* tile);
void UnpackFragmentTile(const std::byte* tile, TileRows& rows);

/// A panel of what lies in `layout`, of matrices of depth `k`: RowMajor, `num_rows` of the panel's 16 rows, or
/// Fragment, a band.
void RepackAsPanel(schema::Layout layout, DType dtype, int64_t k, int64_t num_rows, const std::byte* source,
                   std::byte* panel);

}  // namespace nemotron::runtime

#endif  // RUNTIME_PLAN_PACKING_H_
