#ifndef TESTS_REFERENCE_REFERENCE_H_
#define TESTS_REFERENCE_REFERENCE_H_

#include <cstdint>
#include <vector>

#include "runtime/base/dtype.h"

/// The ops of the nemotron dialect as plain loops with sums in double: what kernels are tested against. Activations are
/// [T][columns] row after row, a whole sequence from its start, so that no state is needed. Formulas: docs/kernels.md
/// and the descriptions of the ops.
namespace nemotron::reference {

using Floats = std::vector<float>;

/// How a matrix product takes its input.
enum class Operand { kF32, kBF16, kSplitBF16 };

/// activation(x * W^T + bias); `bias` may be empty.
Floats Linear(const Floats& x, const Floats& weight, const Floats& bias, int64_t n, int64_t k, Operand operand,
              bool relu2);

/// Numbers of codes of 8 bits, as floats, and the scale of each row: x is about value * scale.
struct Quantized {
  Floats values;
  Floats scales;
};
enum class Scaling { kToken, kStep, kStatic };
/// Each value to the nearest number of a code, of F8E4M3 or I8.
Floats RoundToCodes(Floats x, runtime::DType dtype = runtime::DType::kF8E4M3);
/// code(x / scale) with the scale that `scaling` says (docs/kernels.md); NaNs do not count in a maximum, but one in a
/// row makes an I8 scale NaN.
Quantized Quantize(Floats x, int64_t width, Scaling scaling, float scale, bool relu2,
                   runtime::DType dtype = runtime::DType::kF8E4M3);
/// activation(sum(x * w) * (x scale * weight scale) + bias). No `x.scales`: x is rounded to BF16 and has none. One
/// weight scale, one an output, or G an output, each for as many inputs.
Floats ScaledMatmul(const Quantized& x, const Floats& weight, const Floats& weight_scales, const Floats& bias,
                    int64_t n, int64_t k, bool relu2);

Floats RMSNorm(const Floats& x, const Floats& weight, double eps);
/// `bias` may be empty; `offset` is added to the weight.
Floats LayerNorm(const Floats& x, const Floats& weight, const Floats& bias, double eps, double offset);
Floats GatedRMSNorm(const Floats& x, const Floats& gate, const Floats& weight, int64_t groups, double eps);

/// `weight` [W][C], `bias` may be empty.
Floats CausalConv1d(const Floats& x, const Floats& weight, const Floats& bias, int64_t channels, bool silu);

struct ScanShape {
  int64_t heads, head_dim, groups, state_size;
  double dt_min = 0, dt_max = 1e30;
};
struct ScanInput {
  Floats x, b, c, dt;     // [T][H * P], [T][G * N] twice, [T][H]
  Floats a_log, dt_bias;  // [H]
};
/// The recurrence, token after token. `bf16_state`: the state is rounded to BF16 after each token, behind its output.
Floats SsmScan(const ScanInput& input, const ScanShape& shape, bool bf16_state = false);
/// The same function in chunks of `chunk` tokens (arXiv:2405.21060, section 6).
Floats SsmScanChunked(const ScanInput& input, const ScanShape& shape, int64_t chunk);
Floats SsmSkip(const Floats& y, const Floats& x, const Floats& d, int64_t head_dim);

/// Row t is at position `first_position` + t. `bf16_frequencies`: powers of theta are rounded to F32 and then to BF16.
Floats RotaryEmbedding(const Floats& x, int64_t columns, int64_t head_dim, int64_t rotary_dim, double theta,
                       double position_scale, int64_t first_position = 0, bool bf16_frequencies = false);

Floats Attention(const Floats& query, const Floats& key, const Floats& value, int64_t heads, int64_t kv_heads,
                 int64_t head_dim, double scale);

struct Routing {
  std::vector<int32_t> indices;  // [T][k], ascending in each row
  Floats weights;                // [T][k]
};
struct RouteShape {
  int64_t experts, picks, n_group = 1, topk_group = 1;
  bool normalize = true;
  double scaling = 1;
};
Routing MoeRoute(const Floats& x, const Floats& weight, const Floats& correction_bias, int64_t width,
                 const RouteShape& shape);
/// `up` [E][F][K], `down` [E][K][F].
Floats MoeExperts(const Floats& x, const Routing& routing, const Floats& up, const Floats& down, int64_t experts,
                  int64_t width, int64_t expert_width, Operand operand);

/// Experts of codes, with F32 scales.
struct ScaledExperts {
  int64_t experts, width, expert_width;
  Floats up, down;                            // [E][F][K], [E][K][F]
  Floats up_scales, down_scales;              // [E], or a scale an output: [E][F], [E][K]
  bool quantize;                              // inputs of both matrices are rounded to codes, else to BF16
  Floats up_input_scales, down_input_scales;  // [E]; empty: each row has its own
  runtime::DType dtype = runtime::DType::kF8E4M3;
};
Floats ScaledMoeExperts(const Floats& x, const Routing& routing, const ScaledExperts& experts);

}  // namespace nemotron::reference

#endif  // TESTS_REFERENCE_REFERENCE_H_
