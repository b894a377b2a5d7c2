//===- Nemotron.cpp - the dense family: Nemotron-3 8B, Nemotron-4, Minitron, Nemotron-Mini ------------------------===//
//
// A decoder with LayerNorm1P before attention and MLP: x <- x + attention(norm(x)), then x <- x + mlp(norm(x)). Part of
// each head rotates. Keys are cached after rotation.
//
//===--------------------------------------------------------------------------------------------------------------===//
#include <cmath>

#include "frontends/huggingface/GraphBuilder.h"

using namespace mlir;
using namespace nemotron;
using namespace nemotron::frontends;
using llvm::APFloat;

namespace {

/// LayerNorm1P: the checkpoint stores gain - 1.
Value buildNorm(GraphBuilder &b, StringRef name, Value x) {
  Value weight = b.weightF32(name, (name + ".weight").str());
  Value bias = b.optionalWeightF32((name + ".bias").str(), (name + ".bias").str());
  return b.create<ir::LayerNormOp>(name, x.getType(), x, weight, bias, b.eps(), /*unit_offset=*/true);
}

Value rotate(GraphBuilder &b, StringRef name, const NemotronConfig &config, Value x) {
  if (config.rotaryDim == 0)
    return x;
  return b.create<ir::RotaryEmbeddingOp>(name, x.getType(), x, b.batch(), config.attention.headDim, config.rotaryDim,
                                         APFloat(static_cast<float>(config.ropeTheta)),
                                         APFloat(static_cast<float>(config.positionScale)), b.bf16RopeFrequencies());
}

Value buildAttention(GraphBuilder &b, const NemotronConfig &config, Value h) {
  const AttentionSizes &sizes = config.attention;
  auto cache = b.state("kv", ir::StateKind::KvCache, {2, sizes.numKvHeads, sizes.headDim}, b.kvCacheType());
  Value q = b.linear("q_proj", "self_attn.q_proj", h);
  Value k = b.linear("k_proj", "self_attn.k_proj", h);
  Value v = b.linear("v_proj", "self_attn.v_proj", h);
  q = rotate(b, "q_proj", config, q);
  k = rotate(b, "k_proj", config, k);
  const APFloat scale(static_cast<float>(1.0 / std::sqrt(static_cast<double>(sizes.headDim))));
  auto [keyScale, valueScale] = b.kvCacheScales();
  Value o = b.create<ir::AttentionOp>("attention", q.getType(), q, k, v, b.batch(), cache.getValue(), sizes.numHeads,
                                      sizes.numKvHeads, sizes.headDim, scale, keyScale, valueScale);
  return b.linear("o_proj", "self_attn.o_proj", o);
}

} // namespace

void nemotron::frontends::buildNemotron(GraphBuilder &b, const NemotronConfig &config) {
  Value embedding = b.matrix("embeddings", "embed_tokens.weight");
  Value x = b.create<ir::EmbeddingOp>("embeddings", b.activations(config.hiddenSize), b.tokens(), embedding);
  for (int64_t layer = 0; layer < config.numHiddenLayers; ++layer) {
    b.enterLayer(layer);
    Value h = buildNorm(b, "input_layernorm", x);
    x = b.add("attention_residual", x, buildAttention(b, config, h));
    h = buildNorm(b, "post_attention_layernorm", x);
    Value up = b.linear("up_proj", "mlp.up_proj", h);
    Value down = b.linear("down_proj", "mlp.down_proj", b.relu2("up_proj", up));
    x = b.add("residual", x, down);
  }
  b.leaveLayers();
  x = buildNorm(b, "norm", x);
  b.finish(x, embedding);
}
