//===- NemotronH.cpp - the hybrid family: Nemotron-H, Nano v2, Nemotron 3 -----------------------------------------===//
//
// Each layer is one block: x <- x + mixer(rms_norm(x)), with a Mamba-2, attention, MLP or mixture-of-experts mixer. No
// positional embedding anywhere. Ops are built unfused, as the papers write them; passes fuse.
//
//===--------------------------------------------------------------------------------------------------------------===//
#include <cmath>

#include "frontends/huggingface/GraphBuilder.h"

using namespace mlir;
using namespace nemotron;
using namespace nemotron::frontends;
using llvm::APFloat;

namespace {

/// Mamba-2, arXiv:2405.21060. Rows of in_proj: z, then x, B, C (which are convolved), then dt. z gates the output norm.
Value buildMixer(GraphBuilder &b, const MambaSizes &sizes, const NemotronHConfig &config, Value h) {
  const int64_t inner = sizes.innerSize(), groupState = sizes.groupStateSize(), channels = sizes.convChannels();
  Value projected = b.linear("in_proj", "mixer.in_proj", h);
  auto parts = b.split("in_proj", projected, {inner, channels, sizes.numHeads});
  Value gate = parts[0], xbc = parts[1], dt = parts[2];

  // On disk [C, 1, W], as a depthwise convolution of torch has it.
  Value convWeight = b.weightF32("conv1d", "mixer.conv1d.weight");
  convWeight = b.reshape("conv1d", convWeight, {channels, sizes.convKernel});
  Value convBias = b.optionalWeightF32("conv1d.bias", "mixer.conv1d.bias");
  auto convState = b.state("conv", ir::StateKind::Conv, {sizes.convKernel - 1, channels}, b.f32());
  Value convolved = b.create<ir::CausalConv1dOp>("conv1d", b.activations(channels), xbc, convWeight, convBias,
                                                 b.batch(), convState.getValue());
  convolved = b.create<ir::SiluOp>("conv1d", convolved);
  auto xbcParts = b.split("conv1d", convolved, {inner, groupState, groupState});
  Value x = xbcParts[0];

  auto ssmState =
      b.state("ssm", ir::StateKind::Ssm, {sizes.numHeads, sizes.headDim, sizes.stateSize}, b.ssmStateType());
  Value aLog = b.weightF32("A_log", "mixer.A_log"), dtBias = b.weightF32("dt_bias", "mixer.dt_bias");
  Value y =
      b.create<ir::SsmScanOp>("scan", b.activations(inner), x, xbcParts[1], xbcParts[2], dt, aLog, dtBias, b.batch(),
                              ssmState.getValue(), sizes.numHeads, sizes.headDim, sizes.nGroups, sizes.stateSize,
                              APFloat(static_cast<float>(config.dtMin)), APFloat(static_cast<float>(config.dtMax)));
  y = b.create<ir::SsmSkipOp>("scan", y, x, b.weightF32("D", "mixer.D"), sizes.headDim);
  Value normWeight = b.weightF32("gated_norm", "mixer.norm.weight");
  y = b.create<ir::GatedRMSNormOp>("gated_norm", y, gate, normWeight, sizes.nGroups, b.eps());
  return b.linear("out_proj", "mixer.out_proj", y);
}

Value buildMixer(GraphBuilder &b, const AttentionSizes &sizes, const NemotronHConfig &, Value h) {
  auto cache = b.state("kv", ir::StateKind::KvCache, {2, sizes.numKvHeads, sizes.headDim}, b.kvCacheType());
  Value q = b.linear("q_proj", "mixer.q_proj", h);
  Value k = b.linear("k_proj", "mixer.k_proj", h);
  Value v = b.linear("v_proj", "mixer.v_proj", h);
  const APFloat scale(static_cast<float>(1.0 / std::sqrt(static_cast<double>(sizes.headDim))));
  auto [keyScale, valueScale] = b.kvCacheScales();
  Value o = b.create<ir::AttentionOp>("attention", q.getType(), q, k, v, b.batch(), cache.getValue(), sizes.numHeads,
                                      sizes.numKvHeads, sizes.headDim, scale, keyScale, valueScale);
  return b.linear("o_proj", "mixer.o_proj", o);
}

/// down(relu2(up(h))), not gated.
Value buildMlp(GraphBuilder &b, StringRef name, StringRef tensor, Value h) {
  const std::string up = (name + "up_proj").str(), down = (name + "down_proj").str();
  Value y = b.linear(up, (tensor + ".up_proj").str(), h);
  return b.linear(down, (tensor + ".down_proj").str(), b.relu2(up, y));
}

Value buildMixer(GraphBuilder &b, const MlpSizes &, const NemotronHConfig &, Value h) {
  return buildMlp(b, "", "mixer", h);
}

/// The router and the shared expert read the full h; with latent experts the routed ones read a projection of it.
Value buildMixer(GraphBuilder &b, const MoeSizes &sizes, const NemotronHConfig &, Value h) {
  const auto indicesType =
      RankedTensorType::get({ShapedType::kDynamic, sizes.numExpertsPerTok}, IntegerType::get(h.getContext(), 32));
  Value gate = b.weightF32("gate", "mixer.gate.weight");
  Value correction = b.weightF32("gate.correction_bias", "mixer.gate.e_score_correction_bias");
  auto route = b.create<ir::MoeRouteOp>("gate", indicesType, b.activations(sizes.numExpertsPerTok), h, gate, correction,
                                        sizes.nGroup, sizes.topkGroup, sizes.normTopkProb,
                                        APFloat(static_cast<float>(sizes.routedScalingFactor)));

  Value input = sizes.latentSize ? b.linear("fc1_latent_proj", "mixer.fc1_latent_proj", h) : h;
  Value routed = b.experts("experts", "mixer.experts", sizes.nRoutedExperts, input, route);
  if (sizes.latentSize)
    routed = b.linear("fc2_latent_proj", "mixer.fc2_latent_proj", routed);
  if (!sizes.sharedIntermediateSize)
    return routed;
  Value shared = buildMlp(b, "shared_experts.", "mixer.shared_experts", h);
  return b.add("experts", routed, shared);
}

} // namespace

void nemotron::frontends::buildNemotronH(GraphBuilder &b, const NemotronHConfig &config) {
  Value embedding = b.matrix("embeddings", "embeddings.weight");
  Value x = b.create<ir::EmbeddingOp>("embeddings", b.activations(config.hiddenSize), b.tokens(), embedding);
  for (auto [index, layer] : llvm::enumerate(config.layers)) {
    b.enterLayer(index);
    Value weight = b.weightF32("norm", "norm.weight");
    Value h = b.create<ir::RMSNormOp>("norm", x, weight, b.eps());
    h = std::visit([&](const auto &sizes) { return buildMixer(b, sizes, config, h); }, layer);
    x = b.add("residual", x, h);
  }
  b.leaveLayers();
  Value weight = b.weightF32("norm_f", "norm_f.weight");
  x = b.create<ir::RMSNormOp>("norm_f", x, weight, b.eps());
  b.finish(x, embedding);
}
