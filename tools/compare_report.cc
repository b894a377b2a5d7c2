#include "tools/compare_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string>

#include "tools/console.h"

namespace nemotron::tools {
namespace {

using nlohmann::json;
using runtime::Comparison;
using runtime::LayerDifference;

void PrintAsJson(const Comparison& comparison, int64_t window) {
  json object = {{"tokens", comparison.num_tokens},
                 {"positions", comparison.num_positions},
                 {"window", window},
                 {"kl_divergence",
                  {{"mean", comparison.kl_mean},
                   {"p99", comparison.kl_p99},
                   {"max", comparison.kl_max},
                   {"max_token", comparison.kl_max_token}}},
                 {"top1_agreement", comparison.top1_agreement},
                 {"perplexity",
                  {{"a", comparison.perplexity_a},
                   {"b", comparison.perplexity_b},
                   {"ratio_percent", 100 * comparison.perplexity_ratio()}}}};
  for (const LayerDifference& layer : comparison.layers) {
    object["layers"].push_back({{"behind", layer.behind},
                                {"layer", layer.layer},
                                {"kind", layer.kind},
                                {"relative_error", layer.relative_error},
                                {"cosine", layer.cosine}});
  }
  fmt::print("{}\n", object.dump(2, ' ', false, json::error_handler_t::replace));
}

void PrintLayers(const std::vector<LayerDifference>& layers) {
  const std::string embedding = "the embedding", title = "residual stream behind";
  size_t width = title.size();
  for (const LayerDifference& layer : layers) {
    width = std::max(width, layer.behind.size());
  }
  fmt::print("\nlayer  {:<{}}  relative error  cosine\n", title, width);
  for (const LayerDifference& layer : layers) {
    const std::string number = layer.layer < 0 ? "" : std::to_string(layer.layer);
    fmt::print("{:>3} {:1}  {:<{}}  {:14.3e}  {:.8f}\n", number, Printable(layer.kind),
               layer.behind.empty() ? embedding : Printable(layer.behind), width, layer.relative_error, layer.cosine);
  }
}

}  // namespace

void PrintComparison(const Comparison& comparison, int64_t window, bool as_json) {
  if (as_json) {
    PrintAsJson(comparison, window);
    return;
  }
  fmt::print("{} tokens, {} predictions in windows of {}\n", comparison.num_tokens, comparison.num_positions, window);
  fmt::print("KL divergence    mean {:.3e} nats, 99th percentile {:.3e}, maximum {:.3e} at token {}\n",
             comparison.kl_mean, comparison.kl_p99, comparison.kl_max, comparison.kl_max_token);
  fmt::print("top-1 agreement  {:.2f} %\n", 100 * comparison.top1_agreement);
  fmt::print("perplexity       {:.4f} of the first, {:.4f} of the second: {:.3f} %\n", comparison.perplexity_a,
             comparison.perplexity_b, 100 * comparison.perplexity_ratio());
  if (!comparison.layers.empty()) {
    PrintLayers(comparison.layers);
  }
}

}  // namespace nemotron::tools
