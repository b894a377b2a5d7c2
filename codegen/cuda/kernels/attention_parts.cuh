// What attention makes of some of a row's keys, a part, and how parts become one: the softmax of tiles of 64 keys and
// segments of 512, relative to a maximum that grows (FlashAttention-2, arXiv:2307.08691, section 3.1). All of it is in
// registers; a part that goes through memory is kPartFloats of a token.

constexpr int kSegmentKeys = 512, kTileKeys = 64;
constexpr int kSegmentTiles = kSegmentKeys / kTileKeys;

/// How heads lie in the cache and in parts.
template <class Config>
struct AttentionShape {
  static constexpr bool kIsCodes = sizeof(typename Config::Cache) == 1;
  static constexpr int kGroup = Config::kNumHeads / Config::kNumKvHeads;
  static constexpr int kDim = (Config::kHeadDim + 15) / 16 * 16;
  static constexpr int kDimTiles = kDim / 16;
  static constexpr int kRowBytes = kDim * static_cast<int>(sizeof(typename Config::Cache));
  /// Floats of what a segment of a token has come to: mixed values [kNumHeads][kDim], maximum and sum [kNumHeads][2].
  static constexpr int kPartFloats = (Config::kNumHeads * (kDim + 2) + 31) / 32 * 32;
};

__device__ inline float MinusInfinity() { return __uint_as_float(0xFF800000u); }

/// Two units in the last place off at most; 0 below 2^-126.
__device__ inline float PowerOfTwo(float x) {
  float power;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(power) : "f"(x));
  return power;
}

/// What exponents are relative to: the maximum, or 0 where that is minus infinity, of which no difference is a number.
__device__ inline float BaseOf(float maximum) { return maximum == MinusInfinity() ? 0.0f : maximum; }

/// Maximum of scores and sum of their weights, of some of the keys of a row.
struct Softmax {
  float maximum = MinusInfinity();
  float sum = 0;

  /// Adds a later part. Mixed values become mixed * old_scale + part * part_scale. False if the part is of no key: then
  /// all stays as it is.
  __device__ bool Merge(const Softmax& part, float& old_scale, float& part_scale) {
    if (part.sum == 0) {
      return false;
    }
    const float top = fmaxf(maximum, part.maximum), base = BaseOf(top);
    old_scale = PowerOfTwo(maximum - base);
    part_scale = PowerOfTwo(part.maximum - base);
    maximum = top;
    sum = __fmaf_rn(part.sum, part_scale, __fmul_rn(sum, old_scale));
    return true;
  }
};

__device__ inline float MergeMixed(float mixed, float old_scale, float part, float part_scale) {
  return __fmaf_rn(part, part_scale, __fmul_rn(mixed, old_scale));
}

/// What mixed values are to be multiplied by: those of the cache were divided by `value_scale`.
template <class Config>
__device__ float MeanFactor(float sum, float value_scale) {
  return (AttentionShape<Config>::kIsCodes ? value_scale : 1.0f) / sum;
}
