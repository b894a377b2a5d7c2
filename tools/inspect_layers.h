#ifndef TOOLS_INSPECT_LAYERS_H_
#define TOOLS_INSPECT_LAYERS_H_

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "runtime/plan/plan.h"

namespace nemotron::tools {

/// A matrix as its kernel uses it.
struct MatrixSummary {
  std::string name;              ///< without the layer: "in_proj"
  std::string dtype;             ///< "bf16", "f8e4m3"
  std::string weight_scale;      ///< "tensor", "channel" or "group of 64"; empty if it has none
  std::string activations;       ///< dtype that its input is multiplied in: "f32", "bf16", "bf16x2", "f8e4m3"
  std::string activation_scale;  ///< "token", "step", "static"; empty if they have none
  int64_t size_bytes = 0;
};

struct StateSummary {
  std::string name;  ///< "ssm", "conv", "kv"
  std::string dtype;
};

struct LayerSummary {
  int64_t layer = -1;  ///< -1: outside of layers
  std::string kind;    ///< "mamba", "attention", "mlp", "moe", "decoder"; of layer -1 empty
  std::vector<MatrixSummary> matrices;
  std::vector<StateSummary> states;
};

/// What types the layers of a plan compute in: those with a matrix or a state, in their order, -1 last.
std::vector<LayerSummary> SummarizeLayers(const schema::Plan& plan);

/// A table of them, a line a layer, and how many bytes matrices of each type take.
void PrintLayers(const std::vector<LayerSummary>& layers);

nlohmann::json LayersJson(const std::vector<LayerSummary>& layers);

}  // namespace nemotron::tools

#endif  // TOOLS_INSPECT_LAYERS_H_
