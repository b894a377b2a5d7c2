#ifndef RUNTIME_CPU_KERNELS_LINEAR_TILE_H_
#define RUNTIME_CPU_KERNELS_LINEAR_TILE_H_

#include <cstdint>

#include "runtime/base/dtype.h"
#include "runtime/cpu/cpu_info.h"
#include "runtime/plan/layout.h"

namespace nemotron::runtime::cpu {

/// What becomes of a sum: activation(sum * (input_scale * weight_scale) + bias). The product of the scales is rounded,
/// then the sum is multiplied by it, then the bias is added; what is absent is left out. Sums of groups (GroupScales)
/// have been multiplied by their weight scales before.
struct Epilogue {
  const float* weight_scale = nullptr;  ///< of the first column; nullptr: sums are not scaled
  bool scale_per_column = false;        ///< else one scale is that of all columns
  const float* input_scale = nullptr;   ///< of the first row; nullptr: 1 for all
  int64_t input_scale_row_bytes = 0;
  const float* bias = nullptr;  ///< of the first column
  bool relu2 = false;

  /// The same for the outputs from `row` and `column` on.
  Epilogue From(int64_t row, int64_t column) const {
    Epilogue rest = *this;
    rest.weight_scale = scale_per_column ? weight_scale + column : weight_scale;
    rest.input_scale = input_scale == nullptr ? nullptr : InputScale(row);
    rest.bias = bias == nullptr ? nullptr : bias + column;
    return rest;
  }
  const float* InputScale(int64_t row) const {
    return reinterpret_cast<const float*>(reinterpret_cast<const char*>(input_scale) + row * input_scale_row_bytes);
  }
  bool is_empty() const { return weight_scale == nullptr && input_scale == nullptr && bias == nullptr && !relu2; }
};

/// Scales of an I8 matrix whose outputs have one for each `depth` inputs: a packed F32 matrix [N, num_groups].
struct GroupScales {
  const float* scales = nullptr;  ///< of the first panel; nullptr: there are none
  int64_t depth = 0;              ///< elements of k, a multiple of kGroupUnit
  int64_t num_groups = 1;

  /// The same for the panels from `panel` on.
  GroupScales From(int64_t panel) const {
    GroupScales rest = *this;
    rest.scales = scales == nullptr ? nullptr : scales + panel * PanelElements(DType::kF32, num_groups);
    return rest;
  }
};
inline constexpr int64_t kGroupUnit = 32;

/// A block of y = epilogue(x * W^T) for a run of panels of W (runtime/plan/layout.h) and a run of rows of x.
struct LinearTile {
  /// Rows of F32 or I8, or for BF16 and F8E4M3 panels of LinearKernels::operand, padded with zeros to the depth of a
  /// panel; behind a row of I8 lies an int32, the sum of its numbers, or one for each group.
  const void* input;
  int64_t input_stride;  ///< elements between rows
  int64_t low_offset;    ///< operands of BF16: elements from a row to the second number of each of its sums; 0: none
  const void* panels;    ///< first panel of the run
  int64_t depth;         ///< K, padded to the interleave
  int64_t panel_depth;   ///< elements of k from panel to panel, at least `depth`
  int64_t num_panels;
  int64_t num_rows;
  float* output;  ///< element [first row][first column of the run]
  int64_t output_row_bytes;
  int64_t num_columns;      ///< at most 16 * num_panels; columns past it are not written
  Epilogue epilogue;        ///< of the first row and the first column of the run
  GroupScales groups = {};  ///< of the first panel of the run, I8 only
  bool accumulate = false;  ///< sums go on from what `output` holds, not of I8; else from zero
  /// The most elements of k whose products of BF16 or F8E4M3 may be added up by themselves before the sum takes them. A
  /// sum that is computed in parts has the same bits however it is cut at multiples of it.
  int64_t sum_unit = 32;
  /// With LinearKernels::takes_parts, panels that lie apart: those of element k of the depth begin in
  /// parts[(k + part_offset) / panel_depth], which holds panel_depth elements, a multiple of sum_unit. nullptr:
  /// `panels` holds all.
  const void* const* parts = nullptr;
  int64_t part_offset = 0;
  const void* next = nullptr;  ///< panels to fetch meanwhile, as many as these; null: those that follow in memory
};

/// The matrix kernels of one instruction set. Every output is one chain of sums over k in ascending order (BF16: over
/// pairs of k, with AMX over LinearTile::sum_unit), whatever the numbers of rows and panels. F8E4M3 is decoded to BF16,
/// exactly, and multiplied in the chain of BF16. Sums of I8 are int32, exact, and rounded to F32 once; with groups,
/// those of each are, then scaled and added up in ascending order.
struct LinearKernels {
  void (*f32)(const LinearTile&);
  void (*bf16)(const LinearTile&);
  void (*f8)(const LinearTile&);
  void (*i8)(const LinearTile&);
  /// Of what rows for BF16 and F8E4M3 panels are, all of them BF16 numbers: BF16 with a dot product, else F32, which
  /// needs no widening.
  DType operand;
  int64_t tile_panels;   ///< panels side by side of some or many rows: runs of panels are best a multiple of it
  int64_t rows_at_once;  ///< that share a pass over the panels: with a block of k they stay in L2
  bool takes_parts;      ///< whether products of BF16 and F8E4M3 take LinearTile::parts
  int64_t tasks_each;    ///< at most, of a thread and a matrix: each reads all rows of input anew
  void (*round_to_bf16)(const float* input, int64_t size, uint16_t* output);  ///< nearest even
  void (*round_to_operand)(const float* input, int64_t size, void* output);   ///< the same, as operands
  void (*decode_f8)(const uint8_t* input, int64_t size, void* output);        ///< E4M3 to operands, exactly
  int32_t (*sum_i8)(const int8_t* input, int64_t size);
  /// Products of BF16 or I8 in registers alone, about `count` multiply-adds; returns how many. nullptr: a register tile
  /// with operands in L1 does no fewer a second.
  int64_t (*multiply_registers)(DType dtype, int64_t count) = nullptr;

  /// `tile` with panels of `dtype`.
  void Run(DType dtype, const LinearTile& tile) const {
    (dtype == DType::kBF16 ? bf16 : dtype == DType::kF8E4M3 ? f8 : dtype == DType::kI8 ? i8 : f32)(tile);
  }
};

/// The fastest that `isa` and this machine allow: with Isa::kAvx512Vnni also of VBMI.
const LinearKernels& GetLinearKernels(Isa isa);

extern const LinearKernels kLinearPortable, kLinearAvx2, kLinearAvx512, kLinearAvx512Vnni, kLinearAvx512Vbmi,
    kLinearAvx512Bf16, kLinearAmx;

}  // namespace nemotron::runtime::cpu

#endif  // RUNTIME_CPU_KERNELS_LINEAR_TILE_H_
