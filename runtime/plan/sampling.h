#ifndef RUNTIME_PLAN_SAMPLING_H_
#define RUNTIME_PLAN_SAMPLING_H_

#ifdef __CUDACC__
#define NEMOTRON_HOST_DEVICE __host__ __device__
#else
#define NEMOTRON_HOST_DEVICE
#endif

/// How a token is drawn from logits, in integers: their sums do not depend on an order, so a GPU
/// (codegen/cuda/kernels/sample.cuh) draws the token that the host does (runtime/engine/sampler.h). Read by the host
/// compiler and, as text, by NVRTC, which has no standard headers.
///
/// The *distance* of a logit is what it lies below the largest one, in steps of 2^-24 of a halving of probability. The
/// *weight* of a distance is 2^39 / 2^(distance / 2^24), rounded down: the largest logit has distance 0 and weight
/// 2^39, and after 39 halvings nothing is left. Tokens are ordered by distance, and by id among equals. Then top-k
/// keeps the first k of them; top-p the first whose weights reach p times the sum of what is there; min-p those that
/// have a share of 2^39. A random number below the sum of what is left falls into the weight of one token, in the order
/// of ids: that is drawn.
///
/// Example: logits 1, 3, 2.30685 (half as likely) and -40 at temperature 1. Distances are 2.885 * 2^24, 0, 2^24 and
/// none; weights 0.135, 1, 0.5 and 0, times 2^39. With p = 0.6, 0.6 * 1.635 = 0.98 is reached by token 1 alone; with
/// p = 0.7 by tokens 1 and 2, of which the random number 0.8 draws the second: 0.8 * 1.5 = 1.2 is not below 1.
///
/// A weight that is not 0 is off by at most 1 and 2^-17 of itself: a distance has the rounding of two F32 operations
/// and a step, and 2^-22 is the error of the exponential.
namespace nemotron::runtime {

/// A weight, or a sum of weights, or of what else is counted. 2^24 tokens of the largest weight fit.
using Amount = unsigned long long;

constexpr int kWeightBits = 39;
constexpr int kDistanceBits = 24;                                      // of a halving
constexpr int kImpossible = 1 + ((kWeightBits + 1) << kDistanceBits);  // so far that the weight is 0
/// How far a logit goes at temperature 1: log2(e) halvings.
constexpr float kScale = 1.4426950408889634f * (1 << kDistanceBits);

/// `scale` is kScale / temperature. A logit that is no number is impossible; `maximum` is the largest that is one.
NEMOTRON_HOST_DEVICE inline int Distance(float logit, float maximum, float scale) {
  constexpr float kMost = kImpossible - 1;
  // No sum of a product, which compilers may round once or twice; and no branch.
  const float steps = (maximum - logit) * scale;
  const int distance = 1 + static_cast<int>(steps < kMost ? steps : kMost);
  return logit == maximum ? 0 : distance;
}

/// The upper 64 bits of the product.
NEMOTRON_HOST_DEVICE inline Amount MultiplyHigh(Amount a, Amount b) {
  const Amount a0 = a & 0xFFFFFFFFu, a1 = a >> 32, b0 = b & 0xFFFFFFFFu, b1 = b >> 32;
  const Amount middle = a1 * b0 + (a0 * b0 >> 32), other = a0 * b1 + (middle & 0xFFFFFFFFu);
  return a1 * b1 + (middle >> 32) + (other >> 32);
}

NEMOTRON_HOST_DEVICE inline unsigned MultiplyHigh(unsigned a, unsigned b) {
#ifdef __CUDA_ARCH__
  return __umulhi(a, b);  // with a sum behind it one instruction
#else
  return static_cast<unsigned>(Amount{a} * b >> 32);
#endif
}

/// Falls with each step of the distance, which is `halvings - y`. With all numbers times 2^32, 2^y - 1 is y * (c0 + y *
/// (c1 + ...)), which meets it at 0, at 1 and at the other zeros of the Chebyshev polynomial of degree 6, and in
/// between is off by 2^-22 of 2^y.
NEMOTRON_HOST_DEVICE inline Amount Weight(int distance) {
  const int halvings = (distance + (1 << kDistanceBits) - 1) >> kDistanceBits;
  const unsigned y = (0u - static_cast<unsigned>(distance)) << (32 - kDistanceBits);
  unsigned sum = 8136116;  // c4
  sum = 38457254 + MultiplyHigh(y, sum);
  sum = 239873462 + MultiplyHigh(y, sum);
  sum = 1031431913 + MultiplyHigh(y, sum);
  sum = 2977068551 + MultiplyHigh(y, sum);
  const Amount power = Amount{1} << 32 | MultiplyHigh(y, sum);
  return power << (kWeightBits - 32) >> halvings;
}

/// What top-p keeps reaches this, where `top_p` is p times 2^64.
NEMOTRON_HOST_DEVICE inline Amount TopPAmount(Amount top_p, Amount total) {
  const Amount amount = MultiplyHigh(top_p, total);
  return amount > 0 ? amount : 1;
}

/// What is kept of a row: all nearer than `distance`, and the first `num_ties` of those at it.
struct Cut {
  int distance = kImpossible;
  int num_ties = 0;
};

}  // namespace nemotron::runtime

#endif  // RUNTIME_PLAN_SAMPLING_H_
