#include "tests/frontends/huggingface/quantized_checkpoint.h"

#include <cmath>
#include <cstring>

#include "frontends/huggingface/RandomWeights.h"
#include "mlir/IR/BuiltinOps.h"

namespace nemotron::frontends {

using runtime::DType;

OwnedTensor ScaleTensor(const std::vector<float>& values, std::vector<int64_t> shape, DType dtype) {
  OwnedTensor tensor = ZeroTensor(std::move(shape), dtype);
  EXPECT_EQ(tensor.data.size(), values.size() * runtime::SizeOf(dtype));
  for (size_t i = 0; i < values.size(); ++i) {
    if (dtype == DType::kF32) {
      std::memcpy(&tensor.data[i * 4], &values[i], 4);
    } else {
      const uint16_t bits = runtime::F32ToBF16(values[i]);
      std::memcpy(&tensor.data[i * 2], &bits, 2);
    }
  }
  return tensor;
}

std::vector<float> Floats(const OwnedTensor& tensor) {
  std::vector<float> values(tensor.data.size() / runtime::SizeOf(tensor.dtype));
  for (size_t i = 0; i < values.size(); ++i) {
    uint16_t bits = 0;
    switch (tensor.dtype) {
      case DType::kF32:
        std::memcpy(&values[i], &tensor.data[i * 4], 4);
        break;
      case DType::kF8E4M3:
        values[i] = runtime::F8E4M3ToF32(std::to_integer<uint8_t>(tensor.data[i]));
        break;
      default:
        std::memcpy(&bits, &tensor.data[i * 2], 2);
        values[i] = tensor.dtype == DType::kBF16 ? runtime::BF16ToF32(bits) : runtime::F16ToF32(bits);
    }
  }
  return values;
}

void QuantizeModule(TensorMap* tensors, const std::string& module, const Format& format) {
  OwnedTensor& weight = tensors->at(module + ".weight");
  const std::vector<float> values = Floats(weight);
  const int64_t rows = weight.shape[0], columns = weight.shape[1];
  std::vector<float> maxima(format.per_row ? rows : 1);
  for (size_t i = 0; i < values.size(); ++i) {
    float& maximum = maxima[format.per_row ? i / columns : 0];
    maximum = std::max(maximum, std::abs(values[i]));
  }
  for (float& maximum : maxima) {
    maximum = runtime::CodeScale(runtime::DType::kF8E4M3, maximum);
  }
  std::vector<int64_t> shape;
  if (format.per_row) {
    shape.push_back(rows);
  }
  if (format.has_unit_dim) {
    shape.push_back(1);
  }
  const OwnedTensor scale = ScaleTensor(maxima, shape, format.scale_dtype);
  const std::vector<float> scales = Floats(scale);  // as rounded to their type
  weight = ZeroTensor(weight.shape, DType::kF8E4M3);
  for (size_t i = 0; i < values.size(); ++i) {
    weight.data[i] = std::byte{runtime::F32ToF8E4M3(values[i] / scales[format.per_row ? i / columns : 0])};
  }
  (*tensors)[module + ".weight_scale"] = scale;
  if (format.has_input_scale) {
    const float input = 1.0f / (100.0f + static_cast<float>(tensors->size()));
    (*tensors)[module + ".input_scale"] = ScaleTensor(
        {input}, format.has_unit_dim ? std::vector<int64_t>{1} : std::vector<int64_t>{}, format.scale_dtype);
  }
}

std::vector<std::string> Modules(const TensorMap& tensors, const std::string& part) {
  std::vector<std::string> modules;
  for (const auto& [name, tensor] : tensors) {
    const bool is_matrix = name.ends_with("_proj.weight") || name == "lm_head.weight";
    if (is_matrix && tensor.shape.size() == 2 && name.find(part) != std::string::npos) {
      modules.push_back(name.substr(0, name.size() - std::string(".weight").size()));
    }
  }
  return modules;
}

Json HfQuantConfig(Json exclude_modules, bool kv_cache) {
  return {{"producer", {{"name", "modelopt"}, {"version", "0.29.0"}}},
          {"quantization",
           {{"quant_algo", "FP8"},
            {"kv_cache_quant_algo", kv_cache ? Json("FP8") : Json()},
            {"group_size", nullptr},
            {"exclude_modules", std::move(exclude_modules)}}}};
}

Json CompressedTensors(Json input_activations, const char* weight_strategy) {
  const Json weights = {{"num_bits", 8},
                        {"type", "float"},
                        {"symmetric", true},
                        {"dynamic", false},
                        {"actorder", nullptr},
                        {"block_structure", nullptr},
                        {"observer", "minmax"},
                        {"group_size", nullptr},
                        {"observer_kwargs", Json::object()},
                        {"strategy", weight_strategy}};
  const Json group = {{"targets", {"Linear"}},
                      {"weights", weights},
                      {"input_activations", std::move(input_activations)},
                      {"output_activations", nullptr}};
  return {{"quant_method", "compressed-tensors"},
          {"format", "float-quantized"},
          {"config_groups", {{"group_0", group}}},
          {"ignore", {"lm_head"}},
          {"kv_cache_scheme", nullptr},
          {"quantization_status", "compressed"},
          {"global_compression_ratio", nullptr},
          {"sparsity_config", Json::object()},
          {"transform_config", Json::object()},
          {"version", "0.9.0"}};
}

Json Activations(bool dynamic) {
  return {{"num_bits", 8},
          {"type", "float"},
          {"symmetric", true},
          {"dynamic", dynamic},
          {"observer", nullptr},
          {"group_size", nullptr},
          {"actorder", nullptr},
          {"block_structure", nullptr},
          {"strategy", dynamic ? "token" : "tensor"}};
}

TensorMap QuantizedTest::Random(const Json& config) {
  config_ = config;
  auto parsed = Parse(config);
  EXPECT_TRUE(succeeded(parsed));
  const std::string path = (folder() / "random").string();
  const runtime::Status status = writeRandomCheckpoint(*parsed, path, int64_t{1} << 40);
  EXPECT_TRUE(status.ok()) << status.message();
  return ReadTensors(path + "/model.safetensors");
}

void QuantizedTest::Write(const TensorMap& tensors, int shards) {
  path_ = (folder() / "model").string();
  std::filesystem::remove_all(path_);
  std::filesystem::create_directories(path_);
  WriteFile(path_ + "/config.json", config_.dump(1));
  if (!hf_quant_config_.is_null()) {
    WriteFile(path_ + "/hf_quant_config.json", hf_quant_config_.dump(1));
  }
  if (shards == 1) {
    return WriteTensors(path_ + "/model.safetensors", tensors);
  }
  std::vector<TensorMap> parts(shards);
  Json weight_map = Json::object();
  int next = 0;
  for (const auto& [name, tensor] : tensors) {  // a matrix and its scales come apart
    const int shard = next++ % shards;
    parts[shard][name] = tensor;
    weight_map[name] = "model-" + std::to_string(shard) + ".safetensors";
  }
  for (int i = 0; i < shards; ++i) {
    WriteTensors(path_ + "/model-" + std::to_string(i) + ".safetensors", parts[i]);
  }
  WriteFile(path_ + "/model.safetensors.index.json", Json{{"weight_map", weight_map}}.dump());
}

mlir::FailureOr<ImportedModel> QuantizedTest::Import(const ImportOptions& options) {
  auto model = importHuggingFace(&context_, path_, options);
  EXPECT_TRUE(succeeded(model));
  return model;
}

std::vector<std::string> QuantizedTest::Errors(const ImportOptions& options) {
  EXPECT_TRUE(failed(importHuggingFace(&context_, path_, options)));
  return TakeErrors();
}

}  // namespace nemotron::frontends
