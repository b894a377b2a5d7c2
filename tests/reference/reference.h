#ifndef TESTS_REFERENCE_REFERENCE_H_
#define TESTS_REFERENCE_REFERENCE_H_

#include <cstdint>
#include <vector>

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
/// The recurrence, token after token.
Floats SsmScan(const ScanInput& input, const ScanShape& shape);
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

}  // namespace nemotron::reference

#endif  // TESTS_REFERENCE_REFERENCE_H_
