//===- QuantizationReport.cpp - which scales a checkpoint has, layer by layer -------------------------------------===//
#include "frontends/huggingface/QuantizationReport.h"

#include <fmt/format.h>

#include "llvm/ADT/StringExtras.h"

using namespace nemotron;
using namespace nemotron::frontends;
using Report = QuantizationReport;

namespace {

std::string describeInput(const Report::Matrix &matrix) {
  switch (matrix.activations) {
  case ActivationScheme::Static:
    return "input_scale static";
  case ActivationScheme::Dynamic:
    return matrix.lacksInputScale ? "input_scale missing, scaled by token" : "input_scale by token";
  case ActivationScheme::None:
    return "input not quantized";
  }
  llvm_unreachable("all are listed");
}

std::string describeMatrix(const Report::Matrix &matrix, bool dequantized) {
  const std::string count = matrix.count > 1 ? fmt::format("{} x ", matrix.count) : "";
  if (matrix.dtype != runtime::DType::kF8E4M3)
    return fmt::format("{} {}{}", matrix.name, count, runtime::DTypeName(matrix.dtype));
  return fmt::format("{} {}e4m3 weight_scale {}, {}", matrix.name, count, matrix.perChannel ? "channel" : "tensor",
                     dequantized ? "dequantized" : describeInput(matrix));
}

std::string describeCache(const Report::Cache &cache) {
  switch (cache.source) {
  case Report::Cache::Source::Checkpoint:
    return fmt::format("kv cache e4m3 k_scale {}, v_scale {}", cache.key, cache.value);
  case Report::Cache::Source::Option:
    return fmt::format("kv cache e4m3 k_scale and v_scale missing, {} as asked for", cache.key);
  case Report::Cache::Source::Default:
    return fmt::format("kv cache e4m3 k_scale and v_scale missing, defaulted to {}", cache.key);
  case Report::Cache::Source::Unused:
    return fmt::format("kv cache not e4m3, k_scale {}, v_scale {} unused", cache.key, cache.value);
  }
  llvm_unreachable("all are listed");
}

} // namespace

std::string Report::text() const {
  std::string text;
  for (const Layer &layer : layers) {
    std::vector<std::string> parts;
    for (const Matrix &matrix : layer.matrices)
      parts.push_back(describeMatrix(matrix, dequantized));
    if (layer.cache)
      parts.push_back(describeCache(*layer.cache));
    const std::string name = layer.index < 0 ? layer.kind : fmt::format("layer {} {}", layer.index, layer.kind);
    text += fmt::format("{}: {}\n", name, llvm::join(parts, "; "));
  }
  return text;
}
