// Routing of tokens to experts, in two launches: the logits, a product of F32 with many blocks, then the picks, a warp
// a token. One launch would read the router, 1.4 MB and more, with a single multiprocessor when there is one token.
//
// Tensor cores have no F32. A warp splits K over its lanes, kVector neighbours each, so that W and x are read in whole
// sectors with no shared memory; the sums of the lanes are added in a tree. That order depends on K alone, so results
// do not depend on the number of tokens or on the tile of a warp.

/// A warp has kTokens tokens and kExperts experts, a block kWarpsT by kWarpsE warps; the loads of kUnroll steps over K
/// are on their way at once. For a few tokens a warp has one row of W, so that all multiprocessors read. For many it
/// loads 16 vectors for 64 multiply-adds of vectors; what the warps of a block share comes from the L1 cache.
template <int kTokensValue, int kExpertsValue, int kWarpsTValue, int kWarpsEValue, int kUnrollValue>
struct RouterTile {
  static constexpr int kTokens = kTokensValue, kExperts = kExpertsValue;
  static constexpr int kWarpsT = kWarpsTValue, kWarpsE = kWarpsEValue;
  static constexpr int kUnroll = kUnrollValue;
};

/// Adds up each of kCount sums, a power of two, over the lanes of a warp: halves of them are exchanged, until lane l
/// has the whole of sum l * kCount / 32 + i in sums[i]. The tree is that of WarpReduce.
template <int kCount, int kDistance>
__device__ void ReduceSums(float* sums) {
  if constexpr (kDistance > 0) {
    if constexpr (kCount > 1) {
      const bool upper = threadIdx.x & kDistance;
#pragma unroll
      for (int i = 0; i < kCount / 2; ++i) {
        const float sent = upper ? sums[i] : sums[i + kCount / 2], kept = upper ? sums[i + kCount / 2] : sums[i];
        sums[i] = kept + __shfl_xor_sync(~0u, sent, kDistance);
      }
      ReduceSums<kCount / 2, kDistance / 2>(sums);
    } else {
      sums[0] += __shfl_xor_sync(~0u, sums[0], kDistance);
      ReduceSums<1, kDistance / 2>(sums);
    }
  }
}

/// logits [T, E] = input * weight^T, weight [E, K] row major. Reads W once for every kTokens * kWarpsT tokens. Grid
/// (ceil(E / (kExperts * kWarpsE)), ceil(T / (kTokens * kWarpsT))).
template <class Config, class Tile>
__device__ void RouterLogits(const float* input, const float* weight, char* scratch, const StepTables& step) {
  constexpr int kVector = Config::kVector, kStep = 32 * kVector;
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const int first_expert = (blockIdx.x * Tile::kWarpsE + warp % Tile::kWarpsE) * Tile::kExperts;
  const int first_token = (blockIdx.y * Tile::kWarpsT + warp / Tile::kWarpsE) * Tile::kTokens;
  if (first_expert >= Config::kExperts || first_token >= step.num_tokens) {
    return;
  }
  const int num_tokens = min(Tile::kTokens, step.num_tokens - first_token);
  int rows[Tile::kExperts];  // where they begin; those past the end are the last, and their sums are dropped
#pragma unroll
  for (int e = 0; e < Tile::kExperts; ++e) {
    rows[e] = min(first_expert + e, Config::kExperts - 1) * Config::kColumns;
  }
  input += int64{first_token} * Config::kInputStride;
  float sums[Tile::kTokens * Tile::kExperts] = {};
  for (int first = lane * kVector; first < Config::kColumns; first += Tile::kUnroll * kStep) {
    Vector<float, kVector> w[Tile::kUnroll][Tile::kExperts];
#pragma unroll
    for (int u = 0; u < Tile::kUnroll; ++u) {
      if (const int column = first + u * kStep; column < Config::kColumns) {
#pragma unroll
        for (int e = 0; e < Tile::kExperts; ++e) {
          w[u][e] = LoadVector<kVector>(weight + (rows[e] + column));
        }
      }
    }
#pragma unroll
    for (int t = 0; t < Tile::kTokens; ++t) {
      if (t < num_tokens) {
        const float* row = input + int64{t} * Config::kInputStride;
#pragma unroll
        for (int u = 0; u < Tile::kUnroll; ++u) {
          if (const int column = first + u * kStep; column < Config::kColumns) {
            const auto x = LoadVector<kVector>(row + column);
#pragma unroll
            for (int e = 0; e < Tile::kExperts; ++e) {
#pragma unroll
              for (int j = 0; j < kVector; ++j) {
                float& sum = sums[t * Tile::kExperts + e];
                sum = fmaf(x.values[j], w[u][e].values[j], sum);
              }
            }
          }
        }
      }
    }
  }
  constexpr int kCount = Tile::kTokens * Tile::kExperts, kOfLane = kCount > 32 ? kCount / 32 : 1;
  ReduceSums<kCount, 16>(sums);
  auto* logits = reinterpret_cast<float*>(scratch);
#pragma unroll
  for (int i = 0; i < kOfLane; ++i) {
    const int index = lane * kCount / 32 + i;
    const int token = first_token + index / Tile::kExperts, expert = first_expert + index % Tile::kExperts;
    const bool is_first = lane * kCount % 32 == 0 || kCount >= 32;  // of the lanes that have this sum
    if (is_first && token < step.num_tokens && expert < Config::kExperts) {
      logits[int64{token} * Config::kExperts + expert] = sums[i];
    }
  }
}

/// A number whose order is that of floats, and above 0, which stands for none. NaNs have a place in it too.
__device__ inline unsigned OrderedBits(float value) {
  const unsigned bits = __float_as_uint(value == 0.0f ? 0.0f : value);  // the two zeros are equal
  return max(bits & 0x80000000u ? ~bits : bits | 0x80000000u, 1u);
}

/// Bit g: group g is one of the kTopkGroup best groups of experts. A group's score is the sum of its two best choices;
/// a group is among the best if fewer than kTopkGroup come before it, by a better score, or the same and a lower
/// number. `choices` [E] lies in shared memory.
template <class Config>
__device__ unsigned BestGroups(const float* choices) {
  constexpr int kSize = Config::kExperts / Config::kGroups;
  const float none = __uint_as_float(0xFF800000u);  // -infinity
  const int lane = threadIdx.x % 32;
  float score = none;  // of group `lane`
  for (int group = 0; group < Config::kGroups; ++group) {
    float first = none, second = none;
    for (int e = lane; e < kSize; e += 32) {
      const float choice = choices[group * kSize + e];
      second = fmaxf(second, fminf(first, choice));
      first = fmaxf(first, choice);
    }
    for (int distance = 16; distance > 0; distance /= 2) {
      const float other = __shfl_xor_sync(~0u, first, distance);
      second = fmaxf(fmaxf(second, __shfl_xor_sync(~0u, second, distance)), fminf(first, other));
      first = fmaxf(first, other);
    }
    score = lane != group ? score : kSize == 1 ? first : first + second;
  }
  int before = 0;
  for (int other = 0; other < Config::kGroups; ++other) {
    const float theirs = __shfl_sync(~0u, score, other);
    before += theirs > score || (theirs == score && other < lane);
  }
  return __ballot_sync(~0u, lane < Config::kGroups && before < Config::kTopkGroup);
}

/// Picks kPicks experts of each token by sigmoid(logit) + correction_bias, the lower index where two are equal, and
/// weighs them by their sigmoids (DeepSeek-V3, arXiv:2412.19437, section 2.1.2). A warp a token, experts dealt to its
/// lanes; each round takes the largest that is left, and picks are then numbered by expert. Grid (ceil(T /
/// kPickWarps)).
template <class Config>
__device__ void PickExperts(const char* scratch, const float* correction_bias, int* indices, float* weights,
                            const StepTables& step) {
  constexpr int kOfLane = (Config::kExperts + 31) / 32;
  __shared__ float all_scores[Config::kPickWarps][Config::kExperts];
  __shared__ float all_choices[Config::kPickWarps][Config::kGroups > 1 ? Config::kExperts : 1];
  __shared__ int all_picks[Config::kPickWarps][Config::kPicks];
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const int64 token = blockIdx.x * Config::kPickWarps + warp;
  if (token >= step.num_tokens) {
    return;
  }
  const float* logits = reinterpret_cast<const float*>(scratch) + token * Config::kExperts;
  float* scores = all_scores[warp];
  int* picks = all_picks[warp];

  unsigned keys[kOfLane];  // of experts lane + 32 * i; 0: none, or taken
#pragma unroll
  for (int i = 0; i < kOfLane; ++i) {
    keys[i] = 0;
    if (const int e = lane + 32 * i; e < Config::kExperts) {
      const float score = 1.0f / (1.0f + expf(-logits[e])), choice = score + correction_bias[e];
      scores[e] = score;
      keys[i] = OrderedBits(choice);
      if constexpr (Config::kGroups > 1) {
        all_choices[warp][e] = choice;
      }
    }
  }
  if constexpr (Config::kGroups > 1) {
    __syncwarp();
    const unsigned best = BestGroups<Config>(all_choices[warp]);
#pragma unroll
    for (int i = 0; i < kOfLane; ++i) {
      const int e = lane + 32 * i;
      keys[i] = e >= Config::kExperts || best >> e / (Config::kExperts / Config::kGroups) & 1 ? keys[i] : 1u;
    }
  }

  unsigned taken = 0;  // bit i: expert lane + 32 * i
  for (int round = 0; round < Config::kPicks; ++round) {
    unsigned best = 0;
    int best_i = 0;
#pragma unroll
    for (int i = 0; i < kOfLane; ++i) {
      if (keys[i] > best) {
        best = keys[i];
        best_i = i;
      }
    }
    const unsigned largest = __reduce_max_sync(~0u, best);
    const unsigned mine = best == largest ? lane + 32 * best_i : ~0u;
    if (__reduce_min_sync(~0u, mine) == mine) {
      taken |= 1u << best_i;
#pragma unroll
      for (int i = 0; i < kOfLane; ++i) {
        keys[i] = i == best_i ? 0 : keys[i];
      }
    }
  }

  int count = 0;
#pragma unroll
  for (int i = 0; i < kOfLane; ++i) {
    const bool is_taken = taken >> i & 1;
    const unsigned of_row = __ballot_sync(~0u, is_taken);
    if (is_taken) {
      picks[count + __popc(of_row & ((1u << lane) - 1))] = lane + 32 * i;
    }
    count += __popc(of_row);
  }
  __syncwarp();
  float sum = 0;
  for (int i = 0; i < Config::kPicks; ++i) {
    sum += scores[picks[i]];
  }
  for (int i = lane; i < Config::kPicks; i += 32) {
    const float score = scores[picks[i]];
    const float share = Config::kNormalize ? score / (sum + 1e-20f) : score;
    indices[token * Config::kIndexStride + i] = picks[i];
    weights[token * Config::kWeightStride + i] = share * Config::kScalingFactor;
  }
}
