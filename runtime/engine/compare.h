#ifndef RUNTIME_ENGINE_COMPARE_H_
#define RUNTIME_ENGINE_COMPARE_H_

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "runtime/base/status.h"
#include "runtime/engine/engine.h"

/// How far one plan of a model is from another, e.g. an FP8 one from a BF16 one, over the same tokens.
namespace nemotron::runtime {

struct CompareOptions {
  int64_t window = 512;  ///< tokens after which the states are emptied, as for Perplexity
  bool layers = false;   ///< compare the residual streams too
  std::function<void(int64_t done, int64_t total)> progress = {};  ///< predictions; may be empty
};

/// How the residual streams differ at one place, over all tokens.
///
/// A place is where a norm reads the stream. Each norm of the model is one dispatch, whether it adds the branch before
/// it or not and whether it quantizes what it puts out or not, and its weight has the name that the frontend gave it;
/// so places are the norms in the order of the program (`sum` of those that add, `input` of the others), and the same
/// place of two plans has the same name. What the stream has taken in there is the branch behind the norm before:
/// "layers.3.norm" is the stream after layer 3, and in layers of two branches "layers.3.input_layernorm" is the stream
/// after attention, "layers.3.post_attention_layernorm" the one after the MLP.
struct LayerDifference {
  std::string behind;         ///< the weight of the norm whose branch was added last; empty: the embedding
  int64_t layer = -1;         ///< of that norm
  std::string kind;           ///< of the layer: "M", "*", "-", "E" or "D"; empty if there is none
  double relative_error = 0;  ///< ||b - a|| / ||a||
  double cosine = 0;          ///< of a and b
};

/// Plan A is the reference. Log probabilities and sums are double.
struct Comparison {
  int64_t num_tokens = 0;
  int64_t num_positions = 0;  ///< predictions: one for each token but the first
  /// KL(A || B) = sum over the vocabulary of p_a (log p_a - log p_b), in nats, of a prediction.
  double kl_mean = 0, kl_p99 = 0, kl_max = 0;
  int64_t kl_max_token = 0;   ///< index of the token that was to be predicted where it is largest
  double top1_agreement = 0;  ///< share of the predictions whose likeliest token is the same
  double perplexity_a = 0, perplexity_b = 0;
  std::vector<LayerDifference> layers;  ///< in the order of the program; empty unless asked for

  double perplexity_ratio() const { return perplexity_b / perplexity_a; }
};

/// kInvalidArgument unless the same tokens mean the same to both: the vocabularies have one size and the tokenizers, if
/// both have one, are the same.
Status CheckComparable(const Plan& a, const Plan& b);

/// Runs `tokens` through both plans, in two engines, in the windows of Perplexity. Holds the logits of one step, and
/// with layers the residual streams of one step of A, all layers. kInvalidArgument for less than two tokens, token ids
/// out of range, logits that are not finite, and with layers for plans whose norms differ; besides the errors of
/// CheckComparable and Engine::Step. The engines have no observers afterwards.
StatusOr<Comparison> Compare(Engine& a, Engine& b, std::span<const int32_t> tokens, const CompareOptions& options);

}  // namespace nemotron::runtime

#endif  // RUNTIME_ENGINE_COMPARE_H_
