#include "tools/inspect_layers.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <string_view>
#include <utility>

#include "runtime/base/dtype.h"
#include "runtime/engine/memory.h"
#include "runtime/plan/find.h"
#include "tools/console.h"

namespace nemotron::tools {
namespace {

using namespace nemotron::runtime;  // NOLINT: a tool is made of nothing else

std::string Name(schema::DType dtype) { return std::string(DTypeName(static_cast<DType>(dtype))); }

/// "in_proj" of "layers.3.in_proj".
std::string WithoutLayer(std::string_view name, int64_t layer) {
  const std::string prefix = fmt::format("layers.{}.", layer);
  return std::string(name.starts_with(prefix) ? name.substr(prefix.size()) : name);
}

std::string KindName(const schema::Model& model, int64_t layer) {
  const auto* letters = model.layers_block_type();
  if (letters == nullptr || layer < 0 || layer >= static_cast<int64_t>(letters->size())) {
    return "";
  }
  switch (letters->Get(static_cast<flatbuffers::uoffset_t>(layer))) {
    case 'M':
      return "mamba";
    case '*':
      return "attention";
    case '-':
      return "mlp";
    case 'E':
      return "moe";
    case 'D':
      return "decoder";
  }
  return "";
}

class Summarizer {
 public:
  explicit Summarizer(const schema::Plan& plan) : plan_(plan) {}

  std::vector<LayerSummary> Run() {
    for (const schema::Dispatch* dispatch : *plan_.program()->dispatches()) {
      VisitDispatch(*dispatch);
    }
    std::vector<LayerSummary> layers;
    for (auto& [order, layer] : layers_) {
      layers.push_back(std::move(layer));
    }
    return layers;
  }

 private:
  /// Layers by number; what is outside of them comes last.
  LayerSummary& At(int64_t layer) {
    LayerSummary& summary = layers_[layer < 0 ? INT64_MAX : layer];
    summary.layer = layer;
    summary.kind = KindName(*plan_.model(), layer);
    return summary;
  }

  void VisitDispatch(const schema::Dispatch& dispatch) {
    for (const schema::Argument* argument : *dispatch.arguments()) {
      if (argument->kind() == schema::ArgumentKind::State) {
        const schema::State& state = *plan_.states()->Get(argument->index());
        At(dispatch.layer())
            .states.push_back({WithoutLayer(state.name()->string_view(), dispatch.layer()), Name(state.dtype())});
      } else if (argument->kind() == schema::ArgumentKind::Weight) {
        const schema::Weight& weight = *plan_.weights()->Get(argument->index());
        const bool is_table =
            KernelOp(plan_.program()->kernels()->Get(dispatch.kernel())->name()->string_view()) == "embedding";
        const bool is_scale = argument->name()->string_view().ends_with("_scale");  // of groups, in panels
        if ((weight.layout() == schema::Layout::Panel && !is_scale) || is_table) {
          AddMatrix(dispatch, *argument, weight, is_table);
        }
      } else if (argument->kind() == schema::ArgumentKind::Output) {
        const schema::Parameter* scaling = FindParameter(dispatch, "scaling");
        if (scaling != nullptr && argument->name()->string_view() == "scale") {
          scaling_of_buffer_[argument->index()] = scaling->string_value()->str();
        }
      }
    }
  }

  void AddMatrix(const schema::Dispatch& dispatch, const schema::Argument& argument, const schema::Weight& weight,
                 bool is_table) {
    const std::string role = argument.name()->str();
    MatrixSummary matrix;
    matrix.name = WithoutLayer(weight.name()->string_view(), dispatch.layer());
    matrix.dtype = Name(weight.dtype());
    matrix.size_bytes = static_cast<int64_t>(weight.segment()->size_bytes());
    if (const schema::Argument* scale = FindArgument(dispatch, schema::ArgumentKind::Weight, role + "_scale")) {
      const schema::Weight& scales = *plan_.weights()->Get(scale->index());
      const int64_t last = scales.shape()->Get(scales.shape()->size() - 1);
      const int64_t inputs = weight.shape()->Get(weight.shape()->size() - 1);
      matrix.weight_scale = scales.layout() == schema::Layout::Panel ? fmt::format("group of {}", inputs / last)
                            : last == 1                              ? "tensor"
                                                                     : "channel";
    }
    if (!is_table) {
      DescribeInput(dispatch, role, weight, matrix);
    }
    At(dispatch.layer()).matrices.push_back(std::move(matrix));
  }

  /// The dtype of the buffer with the inputs of a product.
  std::string InputDType(const schema::Dispatch& dispatch) const {
    const schema::Argument* input = FindArgument(dispatch, schema::ArgumentKind::Input, "input");
    return input == nullptr ? "" : Name(plan_.program()->buffers()->Get(input->index())->dtype());
  }

  void DescribeInput(const schema::Dispatch& dispatch, const std::string& role, const schema::Weight& weight,
                     MatrixSummary& matrix) const {
    matrix.activations = weight.dtype() == schema::DType::F32 ? "f32" : "bf16";
    const schema::Parameter* split = FindParameter(dispatch, "split_input");
    if (split != nullptr && split->int_value() != 0 && weight.dtype() == schema::DType::BF16) {
      matrix.activations = "bf16x2";
    }
    if (const schema::Argument* scale = FindArgument(dispatch, schema::ArgumentKind::Input, "input_scale")) {
      matrix.activations = InputDType(dispatch);
      const auto found = scaling_of_buffer_.find(scale->index());
      matrix.activation_scale = found == scaling_of_buffer_.end() ? "" : found->second;
    } else if (const schema::Parameter* activations = FindParameter(dispatch, "activations");
               activations != nullptr && activations->string_value()->str() != "bf16") {  // experts
      const bool is_static = FindArgument(dispatch, schema::ArgumentKind::Weight, role + "_input_scale") != nullptr;
      matrix.activations = Name(weight.dtype());
      matrix.activation_scale = is_static ? "static" : "token";
    }
  }

  const schema::Plan& plan_;
  std::map<int64_t, LayerSummary> layers_;
  std::map<uint32_t, std::string> scaling_of_buffer_;  // of buffers with scales, by the dispatch that wrote them
};

/// "in_proj f8e4m3 by tensor x f8e4m3 by token", "up_proj bf16".
std::string MatrixText(const MatrixSummary& matrix) {
  std::string text = fmt::format("{} {}", Printable(matrix.name), matrix.dtype);
  if (!matrix.weight_scale.empty()) {
    text += fmt::format(" by {} x {}", matrix.weight_scale, matrix.activations);
    text += matrix.activation_scale.empty() ? "" : fmt::format(" by {}", Printable(matrix.activation_scale));
  } else if (matrix.activations == "bf16x2") {
    text += " x bf16x2";
  }
  return text;
}

}  // namespace

std::vector<LayerSummary> SummarizeLayers(const schema::Plan& plan) { return Summarizer(plan).Run(); }

void PrintLayers(const std::vector<LayerSummary>& layers) {
  std::map<std::string, std::pair<int64_t, int64_t>> by_dtype;  // count, bytes
  fmt::print("\nlayers\n");
  for (const LayerSummary& layer : layers) {
    std::vector<std::string> parts;
    for (const MatrixSummary& matrix : layer.matrices) {
      parts.push_back(MatrixText(matrix));
      auto& [count, bytes] = by_dtype[matrix.dtype];
      ++count;
      bytes += matrix.size_bytes;
    }
    for (const StateSummary& state : layer.states) {
      parts.push_back(fmt::format("state {} {}", Printable(state.name), state.dtype));
    }
    const std::string number = layer.layer < 0 ? "" : fmt::format("{}", layer.layer);
    fmt::print("  {:>4} {:<10} {}\n", number, layer.kind, fmt::join(parts, ", "));
  }
  fmt::print("\nmatrices\n");
  for (const auto& [dtype, sum] : by_dtype) {
    fmt::print("  {:<22} {:>10}  {} of them\n", dtype, FormatBytes(sum.second), sum.first);
  }
}

nlohmann::json LayersJson(const std::vector<LayerSummary>& layers) {
  nlohmann::json list = nlohmann::json::array();
  for (const LayerSummary& layer : layers) {
    nlohmann::json matrices = nlohmann::json::array(), states = nlohmann::json::array();
    for (const MatrixSummary& matrix : layer.matrices) {
      matrices.push_back({{"name", matrix.name},
                          {"dtype", matrix.dtype},
                          {"weight_scale", matrix.weight_scale},
                          {"activations", matrix.activations},
                          {"activation_scale", matrix.activation_scale},
                          {"size_bytes", matrix.size_bytes}});
    }
    for (const StateSummary& state : layer.states) {
      states.push_back({{"name", state.name}, {"dtype", state.dtype}});
    }
    list.push_back({{"layer", layer.layer}, {"kind", layer.kind}, {"matrices", matrices}, {"states", states}});
  }
  return list;
}

}  // namespace nemotron::tools
