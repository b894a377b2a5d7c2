#include "tests/e2e/model_reference.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <numeric>
#include <stdexcept>

#include "runtime/base/dtype.h"

namespace nemotron::reference {
namespace {

double Silu(double x) { return x / (1 + std::exp(-x)); }
double Relu2(double x) { return x > 0 ? x * x : 0; }

std::vector<double> Widen(const std::string& dtype, const std::string& bytes) {
  std::vector<double> values;
  const auto read = [&]<typename T>(T, auto convert) {
    values.resize(bytes.size() / sizeof(T));
    for (size_t i = 0; i < values.size(); ++i) {
      T element;
      std::memcpy(&element, bytes.data() + i * sizeof(T), sizeof(T));
      values[i] = convert(element);
    }
  };
  if (dtype == "F32") {
    read(float{}, [](float x) { return x; });
  } else if (dtype == "BF16") {
    read(uint16_t{}, [](uint16_t x) { return runtime::BF16ToF32(x); });
  } else {
    throw std::runtime_error("reference: dtype " + dtype);
  }
  return values;
}

nlohmann::json ReadJson(const std::filesystem::path& path) {
  std::ifstream file(path);
  return nlohmann::json::parse(file);
}

}  // namespace

ModelReference::ModelReference(const std::string& folder, bool bf16_rope_frequencies)
    : bf16_rope_frequencies_(bf16_rope_frequencies), config_(ReadJson(folder + "/config.json")) {
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.path().extension() != ".safetensors" || entry.path().stem() == "golden") {
      continue;
    }
    std::ifstream file(entry.path(), std::ios::binary);
    uint64_t header_bytes = 0;
    file.read(reinterpret_cast<char*>(&header_bytes), sizeof(header_bytes));
    std::string header(header_bytes, '\0');
    file.read(header.data(), header_bytes);
    const auto tensors = nlohmann::json::parse(header);
    for (const auto& [name, info] : tensors.items()) {
      if (name == "__metadata__") {
        continue;
      }
      const auto offsets = info["data_offsets"].get<std::vector<uint64_t>>();
      std::string bytes(offsets[1] - offsets[0], '\0');
      file.seekg(8 + header_bytes + offsets[0]);
      file.read(bytes.data(), bytes.size());
      // Hybrid files of either spelling are known by the older prefix.
      const bool hybrid = config_["model_type"].get<std::string>().starts_with("nemotron_h");
      tensors_[hybrid && name.starts_with("model.") ? "backbone." + name.substr(6) : name] = {
          info["shape"].get<std::vector<int64_t>>(), Widen(info["dtype"], bytes)};
    }
  }
}

const ModelReference::Tensor& ModelReference::Get(const std::string& name) const {
  const auto found = tensors_.find(name);
  if (found == tensors_.end()) {
    throw std::runtime_error("reference: no tensor " + name);
  }
  return found->second;
}

ModelReference::Rows ModelReference::Linear(const Rows& input, const std::string& module) const {
  const Tensor& weight = Get(module + ".weight");
  const int64_t n = weight.shape[0], k = weight.shape[1];
  Rows output(input.size(), std::vector<double>(n));
  for (size_t t = 0; t < input.size(); ++t) {
    for (int64_t i = 0; i < n; ++i) {
      output[t][i] = std::inner_product(input[t].begin(), input[t].end(), weight.values.begin() + i * k, 0.0);
      if (Has(module + ".bias")) {
        output[t][i] += Get(module + ".bias").values[i];
      }
    }
  }
  return output;
}

ModelReference::Rows ModelReference::RMSNorm(const Rows& input, const std::string& weight) const {
  const double eps = config_["layer_norm_epsilon"];
  Rows output = input;
  for (auto& row : output) {
    const double mean = std::inner_product(row.begin(), row.end(), row.begin(), 0.0) / row.size();
    for (size_t i = 0; i < row.size(); ++i) {
      row[i] *= Get(weight).values[i] / std::sqrt(mean + eps);
    }
  }
  return output;
}

ModelReference::Rows ModelReference::LayerNorm1P(const Rows& input, const std::string& module) const {
  const double eps = config_["norm_eps"];
  Rows output = input;
  for (auto& row : output) {
    const double mean = std::accumulate(row.begin(), row.end(), 0.0) / row.size();
    double variance = 0;
    for (double x : row) {
      variance += (x - mean) * (x - mean) / row.size();
    }
    for (size_t i = 0; i < row.size(); ++i) {
      row[i] = (row[i] - mean) / std::sqrt(variance + eps) * (Get(module + ".weight").values[i] + 1) +
               Get(module + ".bias").values[i];
    }
  }
  return output;
}

void ModelReference::Rotate(Rows& rows, int64_t head_dim) const {
  const auto& rope = config_["rope_parameters"];
  const auto rotary = static_cast<int64_t>(head_dim * rope["partial_rotary_factor"].get<double>());
  for (size_t t = 0; t < rows.size(); ++t) {
    for (size_t head = 0; head < rows[t].size(); head += head_dim) {
      for (int64_t j = 0; j < rotary / 2; ++j) {
        double frequency = std::pow(rope["rope_theta"].get<double>(), -2.0 * j / rotary);
        if (bf16_rope_frequencies_) {
          frequency = runtime::BF16ToF32(runtime::F32ToBF16(static_cast<float>(frequency)));
        }
        const double angle = static_cast<double>(t) * frequency;
        double& a = rows[t][head + j];
        double& b = rows[t][head + j + rotary / 2];
        const double rotated = a * std::cos(angle) - b * std::sin(angle);
        b = b * std::cos(angle) + a * std::sin(angle);
        a = rotated;
      }
    }
  }
}

ModelReference::Rows ModelReference::Attention(const Rows& input, const std::string& module, int64_t head_dim,
                                               bool rotary) const {
  Rows q = Linear(input, module + ".q_proj"), k = Linear(input, module + ".k_proj");
  const Rows v = Linear(input, module + ".v_proj");
  if (rotary) {
    Rotate(q, head_dim);
    Rotate(k, head_dim);
  }
  const int64_t heads = q[0].size() / head_dim, kv_heads = k[0].size() / head_dim;
  Rows mixed(input.size(), std::vector<double>(q[0].size()));
  for (size_t t = 0; t < input.size(); ++t) {
    for (int64_t h = 0; h < heads; ++h) {
      const int64_t kv = h / (heads / kv_heads) * head_dim;
      std::vector<double> p(t + 1);
      for (size_t s = 0; s <= t; ++s) {
        for (int64_t i = 0; i < head_dim; ++i) {
          p[s] += q[t][h * head_dim + i] * k[s][kv + i] / std::sqrt(head_dim);
        }
      }
      const double top = *std::max_element(p.begin(), p.end());
      double sum = 0;
      for (double& x : p) {
        sum += x = std::exp(x - top);
      }
      for (size_t s = 0; s <= t; ++s) {
        for (int64_t i = 0; i < head_dim; ++i) {
          mixed[t][h * head_dim + i] += p[s] / sum * v[s][kv + i];
        }
      }
    }
  }
  return Linear(mixed, module + ".o_proj");
}

ModelReference::Rows ModelReference::Mlp(const Rows& input, const std::string& module) const {
  Rows hidden = Linear(input, module + ".up_proj");
  for (auto& row : hidden) {
    std::transform(row.begin(), row.end(), row.begin(), Relu2);
  }
  return Linear(hidden, module + ".down_proj");
}

ModelReference::Rows ModelReference::Mamba(const Rows& input, const std::string& module) const {
  const auto& conv = Get(module + ".conv1d.weight");
  const std::vector<double>&a_log = Get(module + ".A_log").values, &d = Get(module + ".D").values,
        &dt_bias = Get(module + ".dt_bias").values;
  const int64_t heads = a_log.size(), inner = Get(module + ".norm.weight").shape[0], channels = conv.shape[0],
                window = conv.shape[2], groups = config_["n_groups"], head_dim = inner / heads,
                states = (channels - inner) / (2 * groups);
  const Rows projected = Linear(input, module + ".in_proj");  // z, x, B, C, dt
  std::vector<double> state(inner * states);
  Rows normed(input.size(), std::vector<double>(inner));
  for (int64_t t = 0; t < static_cast<int64_t>(input.size()); ++t) {
    std::vector<double> xbc(channels);
    for (int64_t c = 0; c < channels; ++c) {
      double sum = Has(module + ".conv1d.bias") ? Get(module + ".conv1d.bias").values[c] : 0;
      for (int64_t w = 0; w < window; ++w) {
        const int64_t s = t - (window - 1) + w;
        sum += s < 0 ? 0 : conv.values[c * window + w] * projected[s][inner + c];
      }
      xbc[c] = Silu(sum);
    }
    std::vector<double> gated(inner);
    for (int64_t h = 0; h < heads; ++h) {
      const double dt = std::log1p(std::exp(projected[t][inner + channels + h] + dt_bias[h]));
      const double decay = std::exp(-std::exp(a_log[h]) * dt);
      const double* b = &xbc[inner + h / (heads / groups) * states];
      const double* c = b + groups * states;
      for (int64_t i = h * head_dim; i < (h + 1) * head_dim; ++i) {
        double y = d[h] * xbc[i];
        for (int64_t n = 0; n < states; ++n) {
          double& s = state[i * states + n];
          s = decay * s + dt * xbc[i] * b[n];
          y += s * c[n];
        }
        gated[i] = y * Silu(projected[t][i]);
      }
    }
    const int64_t run = inner / groups;
    for (int64_t g = 0; g < groups; ++g) {
      double mean = 0;
      for (int64_t i = g * run; i < (g + 1) * run; ++i) {
        mean += gated[i] * gated[i] / run;
      }
      for (int64_t i = g * run; i < (g + 1) * run; ++i) {
        normed[t][i] = gated[i] / std::sqrt(mean + config_["layer_norm_epsilon"].get<double>()) *
                       Get(module + ".norm.weight").values[i];
      }
    }
  }
  return Linear(normed, module + ".out_proj");
}

ModelReference::Rows ModelReference::Experts(const Rows& input, const std::string& module,
                                             const nlohmann::json& layer) const {
  const auto field = [&](const char* name) { return layer.contains(name) ? layer[name] : config_[name]; };
  const int64_t picks = field("num_experts_per_tok"), n_group = field("n_group"), topk_group = field("topk_group");
  const std::vector<double>& correction = Get(module + ".gate.e_score_correction_bias").values;
  const int64_t experts = correction.size();
  const bool latent = Has(module + ".fc1_latent_proj.weight");
  const Rows router = Linear(input, module + ".gate");
  const Rows inner = latent ? Linear(input, module + ".fc1_latent_proj") : input;
  Rows routed(input.size());
  for (size_t t = 0; t < input.size(); ++t) {
    std::vector<double> score(experts), choice(experts);
    for (int64_t e = 0; e < experts; ++e) {
      score[e] = 1 / (1 + std::exp(-router[t][e]));
      choice[e] = score[e] + correction[e];
    }
    const int64_t size = experts / n_group;
    std::vector<int64_t> groups(n_group), order(experts);
    std::iota(groups.begin(), groups.end(), 0);
    std::stable_sort(groups.begin(), groups.end(), [&](int64_t a, int64_t b) {
      const auto two_best = [&](int64_t g) {
        std::vector<double> c(choice.begin() + g * size, choice.begin() + (g + 1) * size);
        std::sort(c.rbegin(), c.rend());
        return c[0] + (c.size() > 1 ? c[1] : 0);
      };
      return two_best(a) > two_best(b);
    });
    for (int64_t i = topk_group; i < n_group; ++i) {
      std::fill_n(choice.begin() + groups[i] * size, size, -INFINITY);
    }
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) { return choice[a] > choice[b]; });
    order.resize(picks);
    double sum = 0;
    for (int64_t e : order) {
      sum += score[e];
    }
    routed[t].assign(inner[t].size(), 0.0);
    for (int64_t e : order) {
      const double weight = (config_["norm_topk_prob"].get<bool>() ? score[e] / sum : score[e]) *
                            config_["routed_scaling_factor"].get<double>();
      const Rows out = Mlp({inner[t]}, module + ".experts." + std::to_string(e));
      for (size_t i = 0; i < out[0].size(); ++i) {
        routed[t][i] += weight * out[0][i];
      }
    }
  }
  if (latent) {
    routed = Linear(routed, module + ".fc2_latent_proj");
  }
  const Rows shared = Mlp(input, module + ".shared_experts");
  for (size_t t = 0; t < input.size(); ++t) {
    std::transform(routed[t].begin(), routed[t].end(), shared[t].begin(), routed[t].begin(), std::plus<>());
  }
  return routed;
}

ModelReference::Rows ModelReference::HybridLayers(Rows stream) const {
  for (int64_t i = 0; Has("backbone.layers." + std::to_string(i) + ".norm.weight"); ++i) {
    const std::string layer = "backbone.layers." + std::to_string(i), mixer = layer + ".mixer";
    const nlohmann::json overrides =
        config_.contains("block_configs") ? config_["block_configs"][i] : nlohmann::json::object();
    const int64_t head_dim = overrides.value("head_dim", config_.value("head_dim", int64_t{128}));
    const Rows normed = RMSNorm(stream, layer + ".norm.weight");
    const Rows delta = Has(mixer + ".A_log")           ? Mamba(normed, mixer)
                       : Has(mixer + ".q_proj.weight") ? Attention(normed, mixer, head_dim, false)
                       : Has(mixer + ".gate.weight")   ? Experts(normed, mixer, overrides)
                                                       : Mlp(normed, mixer);
    for (size_t t = 0; t < stream.size(); ++t) {
      std::transform(stream[t].begin(), stream[t].end(), delta[t].begin(), stream[t].begin(), std::plus<>());
    }
  }
  return RMSNorm(stream, "backbone.norm_f.weight");
}

ModelReference::Rows ModelReference::DenseLayers(Rows stream) const {
  const auto add = [&](const Rows& delta) {
    for (size_t t = 0; t < stream.size(); ++t) {
      std::transform(stream[t].begin(), stream[t].end(), delta[t].begin(), stream[t].begin(), std::plus<>());
    }
  };
  for (int64_t i = 0; Has("model.layers." + std::to_string(i) + ".input_layernorm.weight"); ++i) {
    const std::string layer = "model.layers." + std::to_string(i);
    add(Attention(LayerNorm1P(stream, layer + ".input_layernorm"), layer + ".self_attn", config_["head_dim"], true));
    add(Mlp(LayerNorm1P(stream, layer + ".post_attention_layernorm"), layer + ".mlp"));
  }
  return LayerNorm1P(stream, "model.norm");
}

std::vector<double> ModelReference::Logits(std::span<const int32_t> tokens) const {
  const bool hybrid = Has("backbone.embeddings.weight");
  const std::string embeddings = hybrid ? "backbone.embeddings" : "model.embed_tokens";
  const Tensor& table = Get(embeddings + ".weight");
  Rows stream;
  for (int32_t token : tokens) {
    const auto row = table.values.begin() + token * table.shape[1];
    stream.emplace_back(row, row + table.shape[1]);
  }
  const Rows final = hybrid ? HybridLayers(std::move(stream)) : DenseLayers(std::move(stream));
  std::vector<double> logits;
  for (const auto& row : Linear(final, Has("lm_head.weight") ? "lm_head" : embeddings)) {
    logits.insert(logits.end(), row.begin(), row.end());
  }
  return logits;
}

}  // namespace nemotron::reference
