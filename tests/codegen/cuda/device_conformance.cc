#include "tests/codegen/cuda/device_conformance.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <gtest/gtest.h>

#include <limits>
#include <random>

#include "codegen/Targets.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Pass/PassManager.h"
#include "passes/PlanPasses.h"
#include "tests/codegen/plan_file_fixture.h"

namespace nemotron::codegen {
namespace {

using runtime::DType;

DType DTypeOf(const std::string& name) {
  return name == "f32" ? DType::kF32 : name == "bf16" ? DType::kBF16 : DType::kF8E4M3;
}

std::vector<float> ValuesOf(const TestWeight& weight) {
  if (!weight.values.empty()) {
    return weight.values;
  }
  int64_t count = 1;
  for (const int64_t dim : weight.shape) {
    count *= dim;
  }
  std::mt19937 random(static_cast<uint32_t>(std::hash<std::string>()(weight.name)));
  std::normal_distribution<float> normal(weight.mean, weight.deviation);
  std::vector<float> values(count);
  for (float& value : values) {
    value = normal(random);
  }
  return values;
}

std::string TensorType(const TestWeight& weight) {
  return fmt::format("tensor<{}x{}>", fmt::join(weight.shape, "x"), weight.dtype);
}

/// Rows of the table of embeddings, which is the vocabulary too: at least those of the logits.
TestWeight Table(const ConformanceCase& test) {
  return {"table", "f32", {test.output_columns, test.input_columns}, 1, 0, test.table};
}

std::string ModuleText(const ConformanceCase& test) {
  std::string declared = test.states, taken;
  std::vector<TestWeight> weights = test.weights;
  weights.push_back(Table(test));
  for (const TestWeight& weight : weights) {
    declared += fmt::format("nemotron.weight @{0} : {1} from \"{0}\"\n", weight.name, TensorType(weight));
    taken += fmt::format("  %{0} = nemotron.get_weight @{0} : {1}\n", weight.name, TensorType(weight));
  }
  return fmt::format(
      "{0}func.func @step(%tokens: tensor<?xi32>, %batch: !nemotron.batch) -> tensor<?x{2}xf32> {{\n{1}"
      "  %x = nemotron.embedding %tokens, %table : (tensor<?xi32>, tensor<{2}x{3}xf32>) -> tensor<?x{3}xf32>\n{4}\n"
      "  %rows = nemotron.select_rows %y of %batch : (tensor<?x{2}xf32>, !nemotron.batch) -> tensor<?x{2}xf32>\n"
      "  return %rows : tensor<?x{2}xf32>\n}}\n",
      declared, taken, test.output_columns, test.input_columns, test.body);
}

/// N(0, 1/K): outputs of about the size of the inputs.
TestWeight Matrix(const std::string& name, const std::string& dtype, int64_t n, int64_t k) {
  return {name, dtype, {n, k}, 1 / std::sqrt(static_cast<float>(k))};
}

std::vector<ConformanceCase> RowCases() {
  return {
      {"embedding", 96, 96, {}, "", "%y = nemotron.relu2 %x : tensor<?x96xf32>", 1e-6},
      {"silu_of_odd_width", 97, 97, {}, "", "%y = nemotron.silu %x : tensor<?x97xf32>", 1e-6},
      {"add_of_views",
       130,
       65,
       {},
       "",
       "%a, %b = nemotron.split %x : (tensor<?x130xf32>) -> (tensor<?x65xf32>, tensor<?x65xf32>)\n"
       "%y = nemotron.add %a, %b : tensor<?x65xf32>",
       1e-6},
      {"rms_norm",
       192,
       192,
       {{"w", "f32", {192}, 0.1f, 1}},
       "",
       "%y = nemotron.rms_norm %x, %w {eps = 1.0e-5 : f32} : tensor<?x192xf32>, tensor<192xf32>",
       1e-6},
      {"rms_norm_of_wide_rows",
       2500,
       2500,
       {{"w", "f32", {2500}, 0.1f, 1}},
       "",
       "%y = nemotron.rms_norm %x, %w {eps = 1.0e-5 : f32} : tensor<?x2500xf32>, tensor<2500xf32>",
       1e-6},
      {"add_rms_norm",
       256,
       128,
       {{"w", "f32", {128}, 0.1f, 1}},
       "",
       "%a, %b = nemotron.split %x : (tensor<?x256xf32>) -> (tensor<?x128xf32>, tensor<?x128xf32>)\n"
       "%s, %n = nemotron.add_rms_norm %a, %b, %w {eps = 1.0e-5 : f32} : tensor<?x128xf32>, tensor<128xf32>\n"
       "%y = nemotron.add %s, %n : tensor<?x128xf32>",
       1e-6},
      {"layer_norm",
       100,
       100,
       {{"w", "f32", {100}, 0.1f}, {"b", "f32", {100}, 0.1f}},
       "",
       "%y = nemotron.layer_norm %x, %w bias %b {eps = 1.0e-5 : f32, unit_offset}\n"
       " : (tensor<?x100xf32>, tensor<100xf32>, tensor<100xf32>) -> tensor<?x100xf32>",
       1e-6},
      {"gated_rms_norm",
       384,
       192,
       {{"w", "f32", {192}, 0.1f, 1}},
       "",
       "%a, %b = nemotron.split %x : (tensor<?x384xf32>) -> (tensor<?x192xf32>, tensor<?x192xf32>)\n"
       "%y = nemotron.gated_rms_norm %a, %b, %w {n_groups = 3, eps = 1.0e-5 : f32} : tensor<?x192xf32>, "
       "tensor<192xf32>",
       1e-6},
      {"ssm_skip",
       192,
       96,
       {{"d", "f32", {6}}},
       "",
       "%a, %b = nemotron.split %x : (tensor<?x192xf32>) -> (tensor<?x96xf32>, tensor<?x96xf32>)\n"
       "%y = nemotron.ssm_skip %a, %b, %d {head_dim = 16} : tensor<?x96xf32>, tensor<6xf32>",
       1e-6},
      {"rotary_embedding",
       128,
       128,
       {},
       "",
       "%y = nemotron.rotary_embedding %x of %batch {head_dim = 32, rotary_dim = 16, theta = 1.0e4 : f32, "
       "position_scale = 1.0 : f32} : (tensor<?x128xf32>, !nemotron.batch) -> tensor<?x128xf32>",
       1e-5},
  };
}

/// Tensor cores round where the CPU does, but add up in another order: K products of size 1 / sqrt(K) each have an
/// error of 2^-24 of a sum that is at most some 4.
std::vector<ConformanceCase> MatmulCases() {
  std::vector<ConformanceCase> cases = {
      {"linear_bf16",
       192,
       576,
       {Matrix("w", "bf16", 576, 192)},
       "",
       "%y = nemotron.linear %x, %w : (tensor<?x192xf32>, tensor<576x192xbf16>) -> tensor<?x576xf32>",
       1e-5},
      {"linear_odd",
       100,
       75,
       {Matrix("w", "bf16", 75, 100), {"b", "f32", {75}}},
       "",
       "%y = nemotron.linear %x, %w bias %b {activation = #nemotron.activation<relu2>}\n"
       " : (tensor<?x100xf32>, tensor<75x100xbf16>, tensor<75xf32>) -> tensor<?x75xf32>",
       1e-5},
      {"linear_deep",
       2072,
       40,
       {Matrix("w", "bf16", 40, 2072)},
       "",
       "%y = nemotron.linear %x, %w : (tensor<?x2072xf32>, tensor<40x2072xbf16>) -> tensor<?x40xf32>",
       1e-5},
      // The first product stores what the second one reads rounded.
      {"linear_of_linear",
       64,
       48,
       {Matrix("up", "bf16", 200, 64), Matrix("down", "bf16", 48, 200)},
       "",
       "%h = nemotron.linear %x, %up {activation = #nemotron.activation<relu2>}\n"
       " : (tensor<?x64xf32>, tensor<200x64xbf16>) -> tensor<?x200xf32>\n"
       "%y = nemotron.linear %h, %down : (tensor<?x200xf32>, tensor<48x200xbf16>) -> tensor<?x48xf32>",
       1e-2},
      {"linear_split_input",
       160,
       64,
       {Matrix("w", "bf16", 64, 160)},
       "",
       "%y = nemotron.linear %x, %w {split_input} : (tensor<?x160xf32>, tensor<64x160xbf16>) -> tensor<?x64xf32>",
       1e-5},
      {"scaled_matmul_weight_only",
       192,
       96,
       {Matrix("w", "f8E4M3FN", 96, 192), {"s", "f32", {1}, 0.1f, 1}},
       "",
       "%y = nemotron.scaled_matmul %x, %w scaled %s\n"
       " : (tensor<?x192xf32>, tensor<96x192xf8E4M3FN>, tensor<1xf32>) -> tensor<?x96xf32>",
       1e-5},
  };
  for (const int64_t k : {90, 160, 1000}) {
    // E4M3 products are exact and few bits long; what differs is where a row's maximum falls between two codes.
    cases.push_back(
        {fmt::format("quantized_matmul_{}", k),
         k,
         112,
         {Matrix("w", "f8E4M3FN", 112, k), {"s", "f32", {112}, 0.1f, 1}, {"b", "f32", {112}}},
         "",
         fmt::format(
             "%q, %qs = nemotron.quantize %x {{scaling = #nemotron.scaling<token>}} : tensor<?x{0}xf32> -> "
             "tensor<?x{0}xf8E4M3FN>, tensor<?x1xf32>\n"
             "%y = nemotron.scaled_matmul %q scaled %qs, %w scaled %s bias %b : (tensor<?x{0}xf8E4M3FN>, "
             "tensor<?x1xf32>, tensor<112x{0}xf8E4M3FN>, tensor<112xf32>, tensor<112xf32>) -> tensor<?x112xf32>",
             k),
         1e-3});
  }
  // Rows that begin amid 16 bytes are no product's to quantize.
  cases.push_back({"quantized_matmul_of_a_view",
                   162,
                   112,
                   {Matrix("w", "f8E4M3FN", 112, 132), {"s", "f32", {1}, 0.1f, 1}},
                   "",
                   "%a, %b = nemotron.split %x : (tensor<?x162xf32>) -> (tensor<?x30xf32>, tensor<?x132xf32>)\n"
                   "%q, %qs = nemotron.quantize %b {scaling = #nemotron.scaling<token>} : tensor<?x132xf32> -> "
                   "tensor<?x132xf8E4M3FN>, tensor<?x1xf32>\n"
                   "%y = nemotron.scaled_matmul %q scaled %qs, %w scaled %s : (tensor<?x132xf8E4M3FN>, "
                   "tensor<?x1xf32>, tensor<112x132xf8E4M3FN>, tensor<1xf32>) -> tensor<?x112xf32>",
                   1e-3});
  // The maximum is the same on both devices: codes are, and the products of codes are exact.
  cases.push_back({"quantized_by_step",
                   104,
                   112,
                   {Matrix("w", "f8E4M3FN", 112, 104), {"s", "f32", {1}, 0.1f, 1}},
                   "",
                   "%q, %qs = nemotron.quantize %x {activation = #nemotron.activation<relu2>, scaling = "
                   "#nemotron.scaling<step>} : tensor<?x104xf32> -> tensor<?x104xf8E4M3FN>, tensor<?x1xf32>\n"
                   "%y = nemotron.scaled_matmul %q scaled %qs, %w scaled %s : (tensor<?x104xf8E4M3FN>, "
                   "tensor<?x1xf32>, tensor<112x104xf8E4M3FN>, tensor<1xf32>) -> tensor<?x112xf32>",
                   1e-5,
                   {},
                   {},
                   /*depends_on_step=*/true});
  cases.push_back(
      {"norm_quantized_static",
       128,
       64,
       {Matrix("w", "f8E4M3FN", 64, 128), {"s", "f32", {1}, 0.1f, 1}, {"g", "f32", {128}, 0.1f, 1}},
       "",
       "%q, %qs = nemotron.rms_norm_quantize %x, %g {eps = 1.0e-5 : f32, scaling = #nemotron.scaling<static>, "
       "static_scale "
       "= 0.0125 : f32} : (tensor<?x128xf32>, tensor<128xf32>) -> (tensor<?x128xf8E4M3FN>, tensor<?x1xf32>)\n"
       "%y = nemotron.scaled_matmul %q scaled %qs, %w scaled %s : (tensor<?x128xf8E4M3FN>, tensor<?x1xf32>, "
       "tensor<64x128xf8E4M3FN>, tensor<1xf32>) -> tensor<?x64xf32>",
       3e-2});
  // On GPUs a product adds the residual of the norm behind it, and stores the codes of what quantizes it.
  cases.push_back({"linear_add_norm",
                   96,
                   96,
                   {Matrix("w", "bf16", 96, 96), {"g", "f32", {96}, 0.1f, 1}},
                   "",
                   "%d = nemotron.linear %x, %w : (tensor<?x96xf32>, tensor<96x96xbf16>) -> tensor<?x96xf32>\n"
                   "%s, %n = nemotron.add_rms_norm %x, %d, %g {eps = 1.0e-5 : f32} : tensor<?x96xf32>, tensor<96xf32>\n"
                   "%y = nemotron.add %s, %n : tensor<?x96xf32>",
                   1e-5});
  for (const std::string scaling : {"<static>, static_scale = 0.05 : f32", "<token>"}) {
    cases.push_back({scaling.starts_with("<static>") ? "quantized_product_static" : "quantized_product_token",
                     96,
                     48,
                     {Matrix("up", "bf16", 200, 96), Matrix("w", "f8E4M3FN", 48, 200), {"s", "f32", {1}, 0.1f, 1}},
                     "",
                     "%h = nemotron.linear %x, %up : (tensor<?x96xf32>, tensor<200x96xbf16>) -> tensor<?x200xf32>\n"
                     "%q, %qs = nemotron.quantize %h {activation = #nemotron.activation<relu2>, scaling = "
                     "#nemotron.scaling" +
                         scaling +
                         "} : tensor<?x200xf32> -> tensor<?x200xf8E4M3FN>, tensor<?x1xf32>\n"
                         "%y = nemotron.scaled_matmul %q scaled %qs, %w scaled %s : (tensor<?x200xf8E4M3FN>, "
                         "tensor<?x1xf32>, tensor<48x200xf8E4M3FN>, tensor<1xf32>) -> tensor<?x48xf32>",
                     5e-2});
  }
  return cases;
}

/// Sequences of up to 150 tokens cross pages of 16 and chunks of 16; splits of %x give what an op takes.
std::vector<ConformanceCase> SequenceCases() {
  std::vector<ConformanceCase> cases;
  for (const auto& [name, activation, channels, window] :
       {std::tuple("conv_silu", "silu", 640, 4), std::tuple("conv_odd", "none", 37, 3)}) {
    cases.push_back(
        {name,
         channels,
         channels,
         {{"w", "f32", {channels, window}, 0.5f}, {"b", "f32", {channels}, 0.5f}},
         fmt::format("nemotron.state @conv conv : tensor<{}x{}xf32>\n", window - 1, channels),
         fmt::format("%y = nemotron.causal_conv1d %x, %w bias %b of %batch conv @conv {{activation = "
                     "#nemotron.activation<{2}>}} : (tensor<?x{0}xf32>, tensor<{0}x{1}xf32>, tensor<{0}xf32>, "
                     "!nemotron.batch) -> tensor<?x{0}xf32>",
                     channels, window, activation),
         1e-6});
  }
  // The scan multiplies split BF16 numbers, whose products have an error of 2^-16.
  for (const auto& [name, heads, dim, groups, states, dtype] :
       {std::tuple("scan", 4, 16, 2, 32, "f32"), std::tuple("scan_of_odd_heads", 3, 7, 1, 12, "f32"),
        std::tuple("scan_with_bf16_state", 2, 32, 1, 64, "bf16")}) {
    const int inner = heads * dim, bc = groups * states;
    cases.push_back(
        {name,
         inner + 2 * bc + heads,
         inner,
         {{"a_log", "f32", {heads}, 0.5f}, {"dt_bias", "f32", {heads}, 0.5f, -1}},
         fmt::format("nemotron.state @ssm ssm : tensor<{}x{}x{}x{}>\n", heads, dim, states, dtype),
         fmt::format(
             "%a, %b, %c, %dt = nemotron.split %x : (tensor<?x{0}xf32>) -> (tensor<?x{1}xf32>, tensor<?x{2}xf32>, "
             "tensor<?x{2}xf32>, tensor<?x{3}xf32>)\n"
             "%y = nemotron.ssm_scan %a, %b, %c, %dt, %a_log, %dt_bias of %batch ssm @ssm {{num_heads = {3}, "
             "head_dim = {4}, n_groups = {5}, state_size = {6}}} : (tensor<?x{1}xf32>, tensor<?x{2}xf32>, "
             "tensor<?x{2}xf32>, tensor<?x{3}xf32>, tensor<{3}xf32>, tensor<{3}xf32>, !nemotron.batch) -> "
             "tensor<?x{1}xf32>",
             inner + 2 * bc + heads, inner, bc, heads, dim, groups, states),
         std::string_view(dtype) == "bf16" ? 2e-2 : 2e-4});
  }
  // The convolution in front is part of the scan on GPUs, alone in decode; with x, b and c in another order, and where
  // the norm's output is rounded.
  for (const auto& [name, heads, dim, groups, states, is_reversed] :
       {std::tuple("conv_scan_gated_norm", 6, 16, 2, 32, false),
        std::tuple("conv_scan_reversed", 4, 40, 1, 48, true)}) {
    const int inner = heads * dim, bc = groups * states, channels = inner + 2 * bc, width = channels + heads + inner;
    cases.push_back(
        {name,
         width,
         inner,
         {{"conv_w", "f32", {channels, 4}, 0.5f},
          {"conv_b", "f32", {channels}, 0.5f},
          {"a_log", "f32", {heads}, 0.5f},
          {"dt_bias", "f32", {heads}, 0.5f, -1},
          {"d", "f32", {heads}},
          {"w", "f32", {inner}, 0.1f, 1}},
         fmt::format("nemotron.state @conv conv : tensor<3x{}xf32>\nnemotron.state @ssm ssm : tensor<{}x{}x{}xf32>\n",
                     channels, heads, dim, states),
         fmt::format(
             "%xbc, %dt, %z = nemotron.split %x : (tensor<?x{0}xf32>) -> (tensor<?x{1}xf32>, tensor<?x{4}xf32>, "
             "tensor<?x{2}xf32>)\n"
             "%conv = nemotron.causal_conv1d %xbc, %conv_w bias %conv_b of %batch conv @conv {{activation = "
             "#nemotron.activation<silu>}} : (tensor<?x{1}xf32>, tensor<{1}x4xf32>, tensor<{1}xf32>, !nemotron.batch) "
             "-> tensor<?x{1}xf32>\n",
             width, channels, inner, bc, heads) +
             (is_reversed
                  ? fmt::format("%c, %b, %a = nemotron.split %conv : (tensor<?x{0}xf32>) -> (tensor<?x{2}xf32>, "
                                "tensor<?x{2}xf32>, tensor<?x{1}xf32>)\n",
                                channels, inner, bc)
                  : fmt::format("%a, %b, %c = nemotron.split %conv : (tensor<?x{0}xf32>) -> (tensor<?x{1}xf32>, "
                                "tensor<?x{2}xf32>, tensor<?x{2}xf32>)\n",
                                channels, inner, bc)) +
             fmt::format(
                 "%y = nemotron.ssm_scan_gated_norm %a, %b, %c, %dt, %a_log, %dt_bias, %z, %d, %w of %batch ssm @ssm "
                 "{{num_heads = {2}, head_dim = {3}, n_groups = {4}, state_size = {5}, eps = 1.0e-5 : f32}} : "
                 "(tensor<?x{0}xf32>, tensor<?x{1}xf32>, tensor<?x{1}xf32>, tensor<?x{2}xf32>, tensor<{2}xf32>, "
                 "tensor<{2}xf32>, tensor<?x{0}xf32>, tensor<{2}xf32>, tensor<{0}xf32>, !nemotron.batch) -> "
                 "tensor<?x{0}xf32>\n",
                 inner, bc, heads, dim, groups, states),
         1e-3});
  }
  // In decode, the last block of a group normalizes it: where rows of y are the output and where they are scratch
  // memory, because a product reads the output as BF16; where a product quantizes it; where a thread has one number or
  // none. A wide group has its own launch.
  for (const auto& [name, heads, dim, groups, states, matrix] :
       {std::tuple("scan_gated_norm", 6, 16, 2, 32, ""), std::tuple("scan_gated_norm_of_odd_heads", 3, 7, 1, 12, ""),
        std::tuple("scan_gated_norm_of_wide_heads", 6, 80, 3, 64, "bf16"),
        std::tuple("scan_gated_norm_of_a_wide_group", 34, 32, 1, 16, "bf16"),
        std::tuple("scan_gated_norm_quantized", 6, 16, 2, 32, "f8E4M3FN")}) {
    const std::string dtype = matrix;
    const bool is_multiplied = !dtype.empty();
    const int inner = heads * dim, bc = groups * states, columns = is_multiplied ? 40 : inner;
    std::vector<TestWeight> weights = {{"a_log", "f32", {heads}, 0.5f},
                                       {"dt_bias", "f32", {heads}, 0.5f, -1},
                                       {"d", "f32", {heads}},
                                       {"w", "f32", {inner}, 0.1f, 1}};
    if (is_multiplied) {
      weights.push_back(Matrix("out", dtype, columns, inner));
    }
    std::string product;
    if (dtype == "bf16") {
      product = "%y = nemotron.linear %n, %out : (tensor<?x{0}xf32>, tensor<{1}x{0}xbf16>) -> tensor<?x{1}xf32>";
    } else if (is_multiplied) {
      weights.push_back({"s", "f32", {1}, 0.1f, 1});
      product =
          "%q, %qs = nemotron.quantize %n {{scaling = #nemotron.scaling<token>}} : tensor<?x{0}xf32> -> "
          "tensor<?x{0}xf8E4M3FN>, tensor<?x1xf32>\n"
          "%y = nemotron.scaled_matmul %q scaled %qs, %out scaled %s : (tensor<?x{0}xf8E4M3FN>, tensor<?x1xf32>, "
          "tensor<{1}x{0}xf8E4M3FN>, tensor<1xf32>) -> tensor<?x{1}xf32>";
    }
    cases.push_back(
        {name, 2 * inner + 2 * bc + heads, columns, std::move(weights),
         fmt::format("nemotron.state @ssm ssm : tensor<{}x{}x{}xf32>\n", heads, dim, states),
         fmt::format(
             "%a, %b, %c, %dt, %z = nemotron.split %x : (tensor<?x{0}xf32>) -> (tensor<?x{1}xf32>, tensor<?x{2}xf32>, "
             "tensor<?x{2}xf32>, tensor<?x{3}xf32>, tensor<?x{1}xf32>)\n"
             "%{7} = nemotron.ssm_scan_gated_norm %a, %b, %c, %dt, %a_log, %dt_bias, %z, %d, %w of %batch ssm @ssm "
             "{{num_heads = {3}, head_dim = {4}, n_groups = {5}, state_size = {6}, eps = 1.0e-5 : f32}} : "
             "(tensor<?x{1}xf32>, tensor<?x{2}xf32>, tensor<?x{2}xf32>, tensor<?x{3}xf32>, tensor<{3}xf32>, "
             "tensor<{3}xf32>, tensor<?x{1}xf32>, tensor<{3}xf32>, tensor<{1}xf32>, !nemotron.batch) -> "
             "tensor<?x{1}xf32>\n",
             2 * inner + 2 * bc + heads, inner, bc, heads, dim, groups, states, is_multiplied ? "n" : "y") +
             fmt::format(fmt::runtime(product), inner, columns),
         dtype == "f8E4M3FN" ? 5e-2
         : is_multiplied     ? 1e-2
                             : 1e-3});
  }
  return cases;
}

/// Columns of %x are queries, keys, values. Exponentials are rounded to BF16, and differ in the last bit where sums do.
ConformanceCase AttentionCase(const std::string& name, int64_t heads, int64_t kv_heads, int64_t dim,
                              const std::string& dtype, std::vector<ConformanceCase::Entry> entries = {}) {
  const int64_t q = heads * dim, kv = kv_heads * dim;
  return {name,
          q + 2 * kv,
          q,
          {},
          fmt::format("nemotron.state @kv kv_cache : tensor<2x{}x{}x{}>\n", kv_heads, dim, dtype),
          fmt::format(
              "%q, %k, %v = nemotron.split %x : (tensor<?x{0}xf32>) -> (tensor<?x{1}xf32>, tensor<?x{2}xf32>, "
              "tensor<?x{2}xf32>)\n"
              "%y = nemotron.attention %q, %k, %v of %batch cache @kv {{num_heads = {3}, num_kv_heads = {4}, head_dim "
              "= {5}, scale = 0.2 : f32{6}}} : (tensor<?x{1}xf32>, tensor<?x{2}xf32>, tensor<?x{2}xf32>, "
              "!nemotron.batch) -> tensor<?x{1}xf32>",
              q + 2 * kv, q, kv, heads, kv_heads, dim,
              dtype == "bf16" ? "" : ", key_scale = 0.02 : f32, value_scale = 0.02 : f32"),
          1e-2,
          std::move(entries)};
}

std::vector<ConformanceCase> AttentionCases() {
  std::vector<ConformanceCase> cases = {
      AttentionCase("attention", 4, 2, 64, "bf16"),
      AttentionCase("attention_of_odd_heads", 6, 2, 24, "bf16"),
      AttentionCase("attention_of_many_heads", 20, 1, 32, "bf16"),
      AttentionCase("attention_of_80", 3, 1, 80, "bf16"),
      AttentionCase("attention_of_128", 4, 1, 128, "bf16"),
      AttentionCase("attention_of_192", 2, 1, 192, "bf16"),
      AttentionCase("attention_of_256", 2, 2, 256, "bf16"),
      AttentionCase("attention_fp8", 8, 1, 32, "f8E4M3FN"),
      AttentionCase("attention_fp8_of_80", 3, 1, 80, "f8E4M3FN"),
      AttentionCase("attention_fp8_of_128", 4, 1, 128, "f8E4M3FN"),
      AttentionCase("attention_fp8_of_192", 2, 1, 192, "f8E4M3FN"),
  };
  // What is not finite reaches tokens from its own on, in its column, or all columns of its head if it is a key, and no
  // token before, though that may be in a tile, and in rows of a warp, with tokens that see it.
  constexpr float kInfinity = std::numeric_limits<float>::infinity(), kNaN = std::numeric_limits<float>::quiet_NaN();
  for (const std::string dtype : {"bf16", "f8E4M3FN"}) {
    constexpr int64_t kHeads = 4, kKvHeads = 2, kDim = 64, kKeys = kHeads * kDim, kValues = kKeys + kKvHeads * kDim;
    cases.push_back(AttentionCase(dtype == "bf16" ? "attention_not_finite" : "attention_fp8_not_finite", kHeads,
                                  kKvHeads, kDim, dtype,
                                  {{5, kValues + 3, kNaN},
                                   {40, kValues + kDim + 10, kInfinity},
                                   {66, kValues + 20, -kInfinity},
                                   {70, kValues + kDim + 10, -kInfinity},
                                   {90, kKeys + kDim, kNaN},
                                   {95, 3, kNaN}}));
  }
  return cases;
}

std::vector<ConformanceCase> ExpertCases() {
  const std::string route =
      "%i, %p = nemotron.moe_route %x, %gate, %bias {n_group = 2, topk_group = 1, norm_topk_prob = true, "
      "routed_scaling_factor = 2.5 : f32} : (tensor<?x96xf32>, tensor<8x96xf32>, tensor<8xf32>) -> (tensor<?x2xi32>, "
      "tensor<?x2xf32>)\n";
  const std::vector<TestWeight> router = {{"gate", "f32", {8, 96}, 0.3f}, {"bias", "f32", {8}, 0.1f}};
  const auto with_experts = [&](const std::string& dtype) {
    std::vector<TestWeight> weights = router;
    weights.push_back({"up", dtype, {8, 72, 96}, 0.1f});
    weights.push_back({"down", dtype, {8, 96, 72}, 0.1f});
    return weights;
  };
  std::vector<TestWeight> scaled = with_experts("f8E4M3FN");
  scaled.push_back({"s", "f32", {8, 1}, 0.1f, 1});
  const std::string types = "(tensor<?x96xf32>, tensor<?x2xi32>, tensor<?x2xf32>, ";
  const std::string experts = "%y = nemotron.moe_experts %x, %i, %p, %up, %down {} : " + types +
                              "tensor<8x72x96xbf16>, tensor<8x96x72xbf16>) -> tensor<?x96xf32>";
  const std::string scaled_experts =
      "%y = nemotron.scaled_moe_experts %x, %i, %p, %up scaled %s, %down scaled %s {} : " + types +
      "tensor<8x72x96xf8E4M3FN>, tensor<8x1xf32>, tensor<8x96x72xf8E4M3FN>, tensor<8x1xf32>) -> tensor<?x96xf32>";
  std::vector<ConformanceCase> cases = {
      {"experts", 96, 96, with_experts("bf16"), "", route + fmt::format(fmt::runtime(experts), ""), 1e-2},
      {"experts_split_input", 96, 96, with_experts("bf16"), "",
       route + fmt::format(fmt::runtime(experts), "{split_input}"), 1e-4},
      {"experts_fp8", 96, 96, scaled, "", route + fmt::format(fmt::runtime(scaled_experts), ""), 5e-2},
      {"experts_weight_only", 96, 96, scaled, "", route + fmt::format(fmt::runtime(scaled_experts), "{weight_only}"),
       1e-2},
  };
  // Scales of the experts for codes of x, of what `up` gave, or both; several slabs of K, and K that is no multiple
  // of 4.
  for (const auto& [name, columns, width, inputs] :
       {std::tuple("experts_fp8_static", 96, 72, "up_input %a down_input %b"),
        std::tuple("experts_fp8_static_input", 96, 72, "up_input %a"),
        std::tuple("experts_fp8_static_hidden", 96, 72, "down_input %b"), std::tuple("experts_fp8_deep", 600, 296, ""),
        std::tuple("experts_fp8_odd", 90, 70, "")}) {
    const std::string static_scales = inputs;
    std::string static_types;
    for (const char* scale : {"up_input", "down_input"}) {
      static_types += static_scales.find(scale) == std::string::npos ? "" : ", tensor<8xf32>";
    }
    cases.push_back(
        {name,
         columns,
         columns,
         {{"gate", "f32", {8, columns}, 0.3f},
          {"bias", "f32", {8}, 0.1f},
          {"up", "f8E4M3FN", {8, width, columns}, 0.1f},
          {"down", "f8E4M3FN", {8, columns, width}, 0.1f},
          {"s", "f32", {8, 1}, 0.1f, 1},
          {"a", "f32", {8}, 0.001f, 0.01f},
          {"b", "f32", {8}, 0.002f, 0.05f}},
         "",
         fmt::format("%i, %p = nemotron.moe_route %x, %gate, %bias {{n_group = 2, topk_group = 1, norm_topk_prob = "
                     "true, routed_scaling_factor = 2.5 : f32}} : (tensor<?x{0}xf32>, tensor<8x{0}xf32>, "
                     "tensor<8xf32>) -> (tensor<?x2xi32>, tensor<?x2xf32>)\n"
                     "%y = nemotron.scaled_moe_experts %x, %i, %p, %up scaled %s, %down scaled %s {2} : "
                     "(tensor<?x{0}xf32>, tensor<?x2xi32>, tensor<?x2xf32>, tensor<8x{1}x{0}xf8E4M3FN>, "
                     "tensor<8x1xf32>, tensor<8x{0}x{1}xf8E4M3FN>, tensor<8x1xf32>{3}) -> tensor<?x{0}xf32>",
                     columns, width, static_scales, static_types),
         5e-2});
  }
  return cases;
}

}  // namespace

std::vector<int32_t> ConformanceTokens(int64_t count, int64_t vocab_size) {
  std::vector<int32_t> tokens(count);
  for (int64_t i = 0; i < count; ++i) {
    tokens[i] = static_cast<int32_t>((i * 37 + 11) % vocab_size);
  }
  return tokens;
}

std::vector<ConformanceCase> ConformanceCases() {
  std::vector<ConformanceCase> cases;
  for (const auto& family : {RowCases(), MatmulCases(), SequenceCases(), AttentionCases(), ExpertCases()}) {
    cases.insert(cases.end(), family.begin(), family.end());
  }
  return cases;
}

void CompileCase(const ConformanceCase& test, const std::string& target, const std::vector<std::string>& architectures,
                 const std::string& path) {
  registerTargets();
  mlir::MLIRContext context;
  context.loadDialect<mlir::func::FuncDialect, ir::NemotronDialect, plan::PlanDialect>();
  std::string errors;
  mlir::ScopedDiagnosticHandler handler(&context, [&](mlir::Diagnostic& diagnostic) {
    errors += diagnostic.str() + "\n";
    return mlir::success();
  });
  auto module = mlir::parseSourceString<mlir::ModuleOp>(ModuleText(test), &context);
  ASSERT_TRUE(module) << errors << ModuleText(test);
  mlir::PassManager passes(&context);
  passes::ConvertNemotronToPlanPassOptions conversion;
  conversion.target = target;
  conversion.architectures = architectures;
  passes.addPass(passes::createConvertNemotronToPlanPass(conversion));
  passes.addPass(passes::createPlanFuseDispatchesPass());
  passes.addPass(passes::createPlanRetypeBuffersPass());
  passes.addPass(passes::createPlanSpecializeKernelsPass());
  passes.addPass(passes::createPlanMemoryPass());
  passes.addPass(passes::createVerifyPlanPass());
  ASSERT_TRUE(mlir::succeeded(passes.run(*module))) << errors;

  MemorySource source;
  std::vector<TestWeight> weights = test.weights;
  weights.push_back(Table(test));
  for (const TestWeight& weight : weights) {
    std::vector<float> values = ValuesOf(weight);
    if (weight.name == Table(test).name) {
      for (const auto& [position, column, value] : test.entries) {
        values[ConformanceTokens(position + 1, test.output_columns)[position] * test.input_columns + column] = value;
      }
    }
    source.Add(weight.name, DTypeOf(weight.dtype), weight.shape, values);
  }
  ir::ModelInfo info;
  info.architecture = "NemotronHForCausalLM";
  info.vocabSize = test.output_columns;
  info.hiddenSize = test.input_columns;
  info.maxPositionEmbeddings = 4096;
  PlanFileOptions options;
  options.path = path;
  options.kernels.architectures = architectures;
  options.kernels.cacheDirectory = testing::TempDir() + "/nemotron-kernels";  // tests of a case compile it once
  const auto summary = writePlanFile(*module, source, info, options);
  ASSERT_TRUE(mlir::succeeded(summary)) << errors;
}

}  // namespace nemotron::codegen
