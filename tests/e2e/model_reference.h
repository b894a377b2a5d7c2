#ifndef TESTS_E2E_MODEL_REFERENCE_H_
#define TESTS_E2E_MODEL_REFERENCE_H_

#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

namespace nemotron::reference {

/// A whole model in plain loops and double precision, straight from the tensors of a checkpoint and the formulas of the
/// papers. Shares no code with the frontend, the passes or the kernels, so that a misreading in one of them shows.
class ModelReference {
 public:
  /// Reads config.json and all safetensors files of `folder`. Throws on any problem: this is a test.
  explicit ModelReference(const std::string& folder, bool bf16_rope_frequencies = false);

  /// Logits [T, V] of all positions of `tokens`, from an empty state.
  std::vector<double> Logits(std::span<const int32_t> tokens) const;

 private:
  struct Tensor {
    std::vector<int64_t> shape;
    std::vector<double> values;
  };
  using Rows = std::vector<std::vector<double>>;  // [T][columns]

  const Tensor& Get(const std::string& name) const;
  bool Has(const std::string& name) const { return tensors_.contains(name); }
  Rows Linear(const Rows& input, const std::string& module) const;
  Rows RMSNorm(const Rows& input, const std::string& weight) const;
  Rows LayerNorm1P(const Rows& input, const std::string& module) const;
  void Rotate(Rows& rows, int64_t head_dim) const;
  Rows Attention(const Rows& input, const std::string& module, int64_t head_dim, bool rotary) const;
  Rows Mlp(const Rows& input, const std::string& module) const;
  Rows Mamba(const Rows& input, const std::string& module) const;
  Rows Experts(const Rows& input, const std::string& module, const nlohmann::json& layer) const;
  Rows HybridLayers(Rows stream) const;
  Rows DenseLayers(Rows stream) const;

  bool bf16_rope_frequencies_;
  nlohmann::json config_;
  std::map<std::string, Tensor> tensors_;
};

}  // namespace nemotron::reference

#endif  // TESTS_E2E_MODEL_REFERENCE_H_
