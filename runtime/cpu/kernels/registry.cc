#include <algorithm>
#include <utility>

#include "runtime/cpu/kernels/kernels.h"

namespace nemotron::runtime::cpu {
namespace {

using PrepareFunction = PreparedOr (*)(const DispatchArguments&);

constexpr std::pair<std::string_view, PrepareFunction> kKernels[] = {
    {"cpu.add", PrepareAdd},
    {"cpu.add_layer_norm", PrepareAddLayerNorm},
    {"cpu.add_layer_norm_quantize", PrepareAddLayerNormQuantize},
    {"cpu.add_rms_norm", PrepareAddRMSNorm},
    {"cpu.add_rms_norm_quantize", PrepareAddRMSNormQuantize},
    {"cpu.attention", PrepareAttention},
    {"cpu.causal_conv1d", PrepareCausalConv1d},
    {"cpu.embedding", PrepareEmbedding},
    {"cpu.gated_rms_norm", PrepareGatedRMSNorm},
    {"cpu.layer_norm", PrepareLayerNorm},
    {"cpu.layer_norm_quantize", PrepareLayerNormQuantize},
    {"cpu.linear", PrepareLinear},
    {"cpu.moe_experts", PrepareMoeExperts},
    {"cpu.moe_route", PrepareMoeRoute},
    {"cpu.quantize", PrepareQuantize},
    {"cpu.relu2", PrepareRelu2},
    {"cpu.rms_norm", PrepareRMSNorm},
    {"cpu.rms_norm_quantize", PrepareRMSNormQuantize},
    {"cpu.rotary_embedding", PrepareRotaryEmbedding},
    {"cpu.scaled_matmul", PrepareScaledMatmul},
    {"cpu.scaled_moe_experts", PrepareScaledMoeExperts},
    {"cpu.select_rows", PrepareSelectRows},
    {"cpu.silu", PrepareSilu},
    {"cpu.ssm_scan", PrepareSsmScan},
    {"cpu.ssm_scan_gated_norm", PrepareSsmScanGatedNorm},
    {"cpu.ssm_skip", PrepareSsmSkip},
};

}  // namespace

StatusOr<std::unique_ptr<PreparedDispatch>> Prepare(std::string_view kernel, const DispatchArguments& arguments) {
  const auto* found =
      std::find_if(std::begin(kKernels), std::end(kKernels), [&](auto& k) { return k.first == kernel; });
  if (found == std::end(kKernels)) {
    return Unimplemented("this build has no kernel '{}'", kernel);
  }
  return found->second(arguments);
}

std::vector<std::string_view> KernelNames() {
  std::vector<std::string_view> names;
  for (const auto& [name, function] : kKernels) {
    names.push_back(name);
  }
  return names;
}

}  // namespace nemotron::runtime::cpu
