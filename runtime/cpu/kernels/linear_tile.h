#ifndef RUNTIME_CPU_KERNELS_LINEAR_TILE_H_
#define RUNTIME_CPU_KERNELS_LINEAR_TILE_H_

#include <cstdint>

#include "runtime/cpu/cpu_info.h"

namespace nemotron::runtime::cpu {

/// A block of y = activation(x * W^T + bias) for a run of panels of W (runtime/plan/layout.h) and a run of rows of x.
struct LinearTile {
  const void* input;     ///< rows of BF16 (for BF16 panels) or F32, padded with zeros to the depth of a panel
  int64_t input_stride;  ///< elements between rows
  int64_t low_offset;    ///< BF16: elements from a row to the second number of each of its sums; 0: there is none
  const void* panels;    ///< first panel of the run
  int64_t depth;         ///< K, padded to the interleave
  int64_t num_panels;
  int64_t num_rows;
  float* output;  ///< element [first row][first column of the run]
  int64_t output_row_bytes;
  int64_t num_columns;  ///< at most 16 * num_panels; columns past it are not written
  const float* bias;    ///< of the first column of the run, or nullptr
  bool relu2;
};

/// The matrix kernels of one instruction set. Every output is one chain of multiply-adds over k in ascending order
/// (BF16: over pairs of k), whatever the numbers of rows and panels.
struct LinearKernels {
  void (*f32)(const LinearTile&);
  void (*bf16)(const LinearTile&);
  void (*round_to_bf16)(const float* input, int64_t size, uint16_t* output);  ///< nearest even
};

const LinearKernels& GetLinearKernels(Isa isa);

extern const LinearKernels kLinearPortable, kLinearAvx2, kLinearAvx512, kLinearAvx512Bf16;

}  // namespace nemotron::runtime::cpu

#endif  // RUNTIME_CPU_KERNELS_LINEAR_TILE_H_
