#ifndef RUNTIME_CPU_KERNELS_LINEAR_H_
#define RUNTIME_CPU_KERNELS_LINEAR_H_

#include <cstdint>
#include <string_view>
#include <utility>

#include "runtime/cpu/kernel.h"
#include "runtime/cpu/kernels/argument_reader.h"
#include "runtime/cpu/kernels/linear_tile.h"
#include "runtime/cpu/thread_pool.h"
#include "runtime/plan/layout.h"

namespace nemotron::runtime::cpu {

/// One packed matrix [n, k] and how it is multiplied; shared by `linear`, `scaled_matmul` and the experts. BF16 and
/// F8E4M3 panels are multiplied by rows of BF16 numbers, I8 panels by rows of I8.
class PackedMatrix {
 public:
  PackedMatrix() = default;
  /// `split_input` (BF16 only): each input is the sum of two BF16 numbers instead of one. `groups`: of I8 only.
  PackedMatrix(DType dtype, const std::byte* panels, int64_t n, int64_t k, bool split_input = false,
               const GroupScales& groups = {})
      : kernels_(&GetLinearKernels(CurrentIsa())),
        dtype_(dtype),
        split_(split_input && dtype == DType::kBF16),
        panels_(panels),
        n_(n),
        k_(k),
        groups_(groups) {}

  int64_t n() const { return n_; }
  int64_t k() const { return k_; }
  int64_t num_panels() const { return NumPanels(n_); }
  int64_t size_bytes() const { return PanelMatrixBytes(dtype_, n_, k_); }

  /// Bytes of one row of prepared input: an odd number of cache lines, so that neighbouring rows of a power of two fall
  /// into different sets of a cache.
  int64_t InputRowBytes() const { return OperandRowBytes() * (HasLowRows() ? 2 : 1) | kCacheLine; }
  const LinearKernels& kernels() const { return *kernels_; }
  /// Rounds a row [k] to the operand type and pads it.
  void PrepareInput(const float* row, std::byte* prepared) const;
  /// Pads a row [k] of codes: of E4M3, decoded exactly, for F8E4M3 panels, of I8 for I8 panels.
  void PrepareInput(const uint8_t* codes, std::byte* prepared) const;

  /// Columns [16 * first_panel, ...) of `num_rows` rows. `input` are prepared rows; `epilogue` and `output` are of the
  /// first row and column 0.
  void Multiply(const std::byte* input, int64_t num_rows, int64_t first_panel, int64_t num_panels,
                const Epilogue& epilogue, float* output, int64_t output_row_bytes) const;

 private:
  static constexpr int64_t kCacheLine = 64;
  /// Of what prepared rows are.
  DType operand() const { return dtype_ == DType::kF32 || dtype_ == DType::kI8 ? dtype_ : kernels_->operand; }
  /// Whether a row is followed by the second numbers of its sums: a row of F32 holds the sums.
  bool HasLowRows() const { return split_ && operand() == DType::kBF16; }
  int64_t OperandRowBytes() const {
    const int64_t sum_bytes = dtype_ == DType::kI8 ? groups_.num_groups * int64_t{sizeof(int32_t)} : 0;
    return RoundUp64(PanelDepth(dtype_, k_) * SizeOf(operand()) + sum_bytes);
  }
  /// Zeroes the operands of a row behind its k.
  void PadOperands(std::byte* row) const;

  const LinearKernels* kernels_ = nullptr;
  DType dtype_ = DType::kF32;
  bool split_ = false;
  const std::byte* panels_ = nullptr;
  int64_t n_ = 0, k_ = 0;
  GroupScales groups_;
};

/// How a matrix [N, K], or a stack of E of them, is scaled.
struct WeightScales {
  const float* scales = nullptr;  ///< [1] or [N] each, or packed [N, num_groups] each
  int64_t per_matrix = 1;         ///< elements of each matrix, padding included
  GroupScales groups;             ///< of the first matrix, if there are groups

  /// Those of a matrix of the stack.
  Epilogue EpilogueOf(int64_t matrix) const;
  GroupScales GroupsOf(int64_t matrix) const;
};

/// The scales `name` of the codes `weight`: [1] or [N], of a stack [E, 1] or [E, N]; or in layout Panel [N, G] or
/// [E, N, G], for each of G groups of inputs of an I8 matrix. Checks too that sums of I8 fit 32 bits.
WeightScales ReadScales(ArgumentReader& args, std::string_view name, const WeightArgument& weight);

/// The panels of a matrix cut into tasks of equal size: enough to be worth claiming, few enough to share the work
/// evenly. Boundaries suit the kernels: 4 panels side by side for one row, LinearKernels::tile_panels for more.
class PanelTasks {
 public:
  PanelTasks(const PackedMatrix& matrix, int64_t num_rows, int num_threads);
  int64_t size() const { return size_; }
  /// First panel and number of panels, at least 1.
  std::pair<int64_t, int64_t> At(int64_t task) const;

 private:
  int64_t num_panels_, unit_, size_;
};

/// All columns of `num_rows` prepared rows, shared among the threads. Reads every weight byte once a step (for up to
/// LinearKernels::rows_at_once; more rows reread them from L2 or L3).
void MultiplyRows(ThreadPool& pool, const PackedMatrix& matrix, const std::byte* input, int64_t num_rows,
                  const Epilogue& epilogue, float* output, int64_t output_row_bytes);

}  // namespace nemotron::runtime::cpu

#endif  // RUNTIME_CPU_KERNELS_LINEAR_H_
