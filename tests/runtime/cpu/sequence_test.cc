// Kernels that mix tokens and keep state: convolution, scan, attention, rotary embedding. Each against the reference
// over a whole sequence, and bit for bit against itself however the sequence is cut and whatever shares its steps.

#include <bit>
#include <cmath>
#include <limits>
#include <numbers>
#include <tuple>

#include "tests/runtime/cpu/kernel_fixture.h"

namespace nemotron::runtime::cpu {
namespace {

using Inputs = std::map<std::string, Floats>;  // of a whole sequence

Floats Rows(const Floats& values, int64_t columns, int64_t first, int64_t count) {
  return Floats(values.begin() + first * columns, values.begin() + (first + count) * columns);
}

/// Feeds `inputs` to a new sequence in pieces of `counts`; returns the output of all tokens.
Floats Feed(KernelFixture& kernel, const Inputs& inputs, const std::vector<int64_t>& counts) {
  TestSequence sequence = kernel.NewSequence();
  Floats all;
  int64_t at = 0;
  for (int64_t count : counts) {
    for (const auto& [name, values] : inputs) {
      kernel.SetInput(name, 0, Rows(values, kernel.arguments.inputs.at(name).columns, at, count));
    }
    kernel.Step({&sequence}, {count});
    const Floats y = kernel.GetOutput("output", count);
    all.insert(all.end(), y.begin(), y.end());
    at += count;
  }
  return all;
}

/// The same while two other sequences of other lengths share each step.
Floats FeedAmongOthers(KernelFixture& kernel, const Inputs& inputs, const std::vector<int64_t>& counts) {
  TestSequence mine = kernel.NewSequence(), before = kernel.NewSequence(), after = kernel.NewSequence();
  Floats all;
  int64_t at = 0;
  for (int64_t count : counts) {
    const int64_t first = 1 + at % 4, last = 2;
    for (const auto& [name, values] : inputs) {
      const int64_t columns = kernel.arguments.inputs.at(name).columns;
      kernel.SetInput(name, 0, Random(first * columns, 100 + at));
      kernel.SetInput(name, first, Rows(values, columns, at, count));
      kernel.SetInput(name, first + count, Random(last * columns, 200 + at));
    }
    kernel.Step({&before, &mine, &after}, {first, count, last});
    const Floats y = kernel.GetOutput("output", first + count + last);
    const int64_t columns = kernel.arguments.outputs.at("output").columns;
    all.insert(all.end(), y.begin() + first * columns, y.begin() + (first + count) * columns);
    at += count;
  }
  return all;
}

/// All of the above against the whole sequence in one step; `make` gives a kernel for a number of threads.
template <typename Make>
void ExpectInvariant(const Make& make, const Inputs& inputs, int64_t tokens, const std::string& what) {
  KernelFixture kernel = make(2);
  Status status = kernel.Prepare();
  ASSERT_TRUE(status.ok()) << status.message();
  const Floats whole = Feed(kernel, inputs, {tokens});
  for (const std::vector<int64_t>& cut : Cuts(tokens)) {
    ASSERT_EQ(Feed(kernel, inputs, cut), whole) << what << ", cut into " << cut.size();
    ASSERT_EQ(FeedAmongOthers(kernel, inputs, cut), whole) << what << ", among others, cut into " << cut.size();
  }
  for (int threads : {1, 3}) {
    KernelFixture other = make(threads);
    ASSERT_TRUE(other.Prepare().ok());
    ASSERT_EQ(Feed(other, inputs, {tokens}), whole) << what << ", " << threads << " threads";
  }
}

class SequenceTest : public EachIsa {};
INSTANTIATE_TEST_SUITE_P(Isa, SequenceTest, testing::ValuesIn(Isas()), IsaTestName);

struct ConvShape {
  int64_t tokens, channels, window;
  bool bias, silu;
};

TEST_P(SequenceTest, CausalConv1d) {
  for (const auto& [tokens, channels, window, bias, silu] : std::vector<ConvShape>{{20, 40, 4, true, true},
                                                                                   {1, 40, 4, true, true},
                                                                                   {2, 40, 4, true, true},
                                                                                   {20, 1, 4, true, true},
                                                                                   {20, 1300, 4, true, true},
                                                                                   {20, 40, 2, true, true},
                                                                                   {20, 40, 3, true, true},
                                                                                   {20, 40, 4, false, true},
                                                                                   {20, 40, 4, true, false}}) {
    const std::string what = fmt::format("T {} C {} W {} bias {} silu {}", tokens, channels, window, bias, silu);
    const Floats x = Random(tokens * channels, 1), weight = Random(window * channels, 2), shift = Random(channels, 3);
    const auto make = [&, channels = channels, window = window, bias = bias, silu = silu](int threads) {
      KernelFixture conv("cpu.causal_conv1d", 64, threads);
      conv.Input("input", channels).Output("output", channels).State("conv", StateKind::kConv, {window - 1, channels});
      conv.Weight("weight", {window, channels}, weight, DType::kF32, Layout::kRowMajor)
          .Text("activation", silu ? "silu" : "none");
      if (bias) {
        conv.Vector("bias", shift);
      }
      return conv;
    };
    KernelFixture conv = make(2);
    ASSERT_TRUE(conv.Prepare().ok());
    // At most 5 terms of about 1 in F32; the vector exponential of SiLU has an error of a few units in the last place.
    ExpectNear(Feed(conv, {{"input", x}}, {tokens}),
               reference::CausalConv1d(x, weight, bias ? shift : Floats(), channels, silu), 1e-5, what);
    ExpectInvariant(make, {{"input", x}}, tokens, what);
  }
}

struct ScanCase {
  int64_t tokens;
  reference::ScanShape shape;
};

std::vector<ScanCase> ScanCases() {
  return {{40, {8, 16, 2, 32}}, {1, {8, 16, 2, 32}},   {33, {8, 16, 2, 32}}, {40, {8, 16, 1, 32}},
          {40, {8, 16, 8, 32}}, {40, {4, 64, 2, 128}}, {40, {4, 80, 2, 96}}, {40, {2, 128, 1, 256}},
          {40, {8, 15, 2, 32}}, {40, {8, 1, 2, 32}},   {40, {8, 16, 2, 20}}, {40, {8, 16, 2, 1}},
          {40, {8, 20, 4, 32}}, {40, {2, 192, 2, 64}}, {40, {2, 8, 1, 300}}, {40, {8, 16, 2, 32, 0.01, 0.5}},
          {1, {4, 64, 2, 128}}};
}

reference::ScanInput RandomScan(const ScanCase& scan) {
  const auto& s = scan.shape;
  reference::ScanInput input;
  input.x = Random(scan.tokens * s.heads * s.head_dim, 1);
  input.b = Random(scan.tokens * s.groups * s.state_size, 2);
  input.c = Random(scan.tokens * s.groups * s.state_size, 3, 1 / std::sqrt(static_cast<float>(s.state_size)));
  input.dt = Random(scan.tokens * s.heads, 4, 2);
  input.dt[0] = 25;  // softplus is the identity here
  input.a_log = Random(s.heads, 5);
  input.dt_bias = Random(s.heads, 6);
  return input;
}

KernelFixture MakeScan(const char* name, const ScanCase& scan, const reference::ScanInput& input, DType state,
                       int threads) {
  const auto& s = scan.shape;
  KernelFixture kernel(name, 64, threads);
  kernel.Input("x", s.heads * s.head_dim).Input("b", s.groups * s.state_size).Input("c", s.groups * s.state_size);
  kernel.Input("dt", s.heads)
      .Output("output", s.heads * s.head_dim)
      .Vector("a_log", input.a_log)
      .Vector("dt_bias", input.dt_bias);
  kernel.State("ssm", StateKind::kSsm, {s.heads, s.head_dim, s.state_size}, state);
  kernel.State("recent", StateKind::kRecent, {kScanChunk, s.heads * (s.head_dim + 1) + s.groups * s.state_size});
  kernel.Int("num_heads", s.heads)
      .Int("head_dim", s.head_dim)
      .Int("n_groups", s.groups)
      .Int("state_size", s.state_size);
  kernel.Float("dt_min", s.dt_min).Float("dt_max", s.dt_max);
  return kernel;
}

std::string Name(const ScanCase& scan, DType state = DType::kF32) {
  const auto& s = scan.shape;
  return fmt::format("T {} H {} P {} G {} N {} {}", scan.tokens, s.heads, s.head_dim, s.groups, s.state_size,
                     DTypeName(state));
}

/// Outputs grow with dt; errors are measured against the largest.
double Largest(const Floats& values) {
  double largest = 1;
  for (float value : values) {
    largest = std::max(largest, std::abs(double{value}));
  }
  return largest;
}

TEST(ScanReference, ChunksEqualTheRecurrence) {
  for (const ScanCase& scan : ScanCases()) {
    const reference::ScanInput input = RandomScan(scan);
    const Floats recurrence = reference::SsmScan(input, scan.shape);
    for (int64_t chunk : {1, 7, 16, 64}) {
      ExpectNear(reference::SsmScanChunked(input, scan.shape, chunk), recurrence, 1e-6 * Largest(recurrence),
                 Name(scan));
    }
  }
}

double MeanDistance(const Floats& a, const Floats& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    sum += std::abs(double{a[i]} - b[i]);
  }
  return sum / static_cast<double>(a.size());
}

/// Against `expected`, whose state is rounded to BF16 as the kernel's is. An element of the state that lies within an
/// F32 error of the middle of two BF16 numbers may go either way, which moves an output by 2^-8 of one of its terms.
/// That is rare: the mean error stays far below `tolerance` and below what rounding changes, the distance to
/// `unrounded`.
void ExpectNearRounded(const Floats& found, const Floats& expected, const Floats& unrounded, double tolerance,
                       const std::string& what) {
  ASSERT_EQ(found.size(), expected.size()) << what;
  const double error = MeanDistance(found, expected), change = MeanDistance(expected, unrounded);
  ASSERT_LE(error, (tolerance + change) / 20) << what << ", NEMOTRON_TEST_SEED=" << BaseSeed();
  ExpectNear(found, expected, tolerance + Largest(expected) / 128, what);
}

/// A scan with a state of either dtype, made by make(state, threads), against reference_of(bf16_state).
template <typename Make, typename Reference>
void CheckScan(const ScanCase& scan, const Inputs& inputs, const Make& make, const Reference& reference_of,
               const Floats& expected, double tolerance) {
  for (DType state : {DType::kF32, DType::kBF16}) {
    const auto make_with = [&](int threads) { return make(state, threads); };
    KernelFixture kernel = make_with(2);
    const Status status = kernel.Prepare();
    ASSERT_TRUE(status.ok()) << status.message();
    const Floats found = Feed(kernel, inputs, {scan.tokens});
    if (state == DType::kF32) {
      ExpectNear(found, expected, tolerance, Name(scan));
    } else {
      ExpectNearRounded(found, reference_of(/*bf16_state=*/true), expected, tolerance, Name(scan, state));
    }
    ExpectInvariant(make_with, inputs, scan.tokens, Name(scan, state));
  }
}

TEST_P(SequenceTest, SsmScan) {
  for (const ScanCase& scan : ScanCases()) {
    const reference::ScanInput input = RandomScan(scan);
    const Inputs inputs = {{"x", input.x}, {"b", input.b}, {"c", input.c}, {"dt", input.dt}};
    const Floats expected = reference::SsmScan(input, scan.shape);
    // A state element takes one rounding a token and decays; the sum over N adds N more. Weights of the tokens of a
    // chunk have the errors of exponentials, a few units in the last place each.
    const double tolerance = (scan.tokens + scan.shape.state_size) * 6e-8 * Largest(expected) + 1e-5;
    const auto make = [&](DType state, int threads) { return MakeScan("cpu.ssm_scan", scan, input, state, threads); };
    const auto reference_of = [&](bool bf16_state) { return reference::SsmScan(input, scan.shape, bf16_state); };
    CheckScan(scan, inputs, make, reference_of, expected, tolerance);
  }
}

TEST_P(SequenceTest, SsmScanGatedNorm) {
  for (const ScanCase& scan : ScanCases()) {
    const auto& s = scan.shape;
    const reference::ScanInput input = RandomScan(scan);
    const Floats gate = Random(scan.tokens * s.heads * s.head_dim, 7), d = Random(s.heads, 8),
                 weight = Random(s.heads * s.head_dim, 9);
    const Inputs inputs = {{"x", input.x}, {"b", input.b}, {"c", input.c}, {"dt", input.dt}, {"gate", gate}};
    const auto reference_of = [&](bool bf16_state) {
      const Floats skipped = reference::SsmSkip(reference::SsmScan(input, s, bf16_state), input.x, d, s.head_dim);
      return reference::GatedRMSNorm(skipped, gate, weight, s.groups, 1e-5);
    };
    const Floats expected = reference_of(/*bf16_state=*/false);
    // The norm brings the scan's relative error to outputs of up to sqrt(width) times the weight.
    const double tolerance = (scan.tokens + s.state_size + 64) * 6e-8 * Largest(expected) * 8 + 1e-5;
    const auto make = [&](DType state, int threads) {
      KernelFixture kernel = MakeScan("cpu.ssm_scan_gated_norm", scan, input, state, threads);
      kernel.Input("gate", s.heads * s.head_dim).Vector("d", d).Vector("weight", weight).Float("eps", 1e-5);
      return kernel;
    };
    CheckScan(scan, inputs, make, reference_of, expected, tolerance);
  }
}

/// Feeds `x` [P], each as the first token of a chunk of zeros, to a scan whose state is BF16 [1, P, 1] and changes by x
/// exactly: b, c, dt and decay are 1. Returns the outputs of these tokens, the state of each chunk before it is
/// rounded.
Floats AddUpInBF16(const std::vector<Floats>& x) {
  const auto chunks = static_cast<int64_t>(x.size()), head_dim = static_cast<int64_t>(x[0].size());
  const int64_t tokens = chunks * kScanChunk;
  const Floats ones(tokens, 1.0f);
  reference::ScanInput input;
  input.a_log = {-std::numeric_limits<float>::infinity()};  // decay is exp(-0 * dt)
  input.dt_bias = {30};                                     // clamped to 1
  KernelFixture kernel = MakeScan("cpu.ssm_scan", {tokens, {1, head_dim, 1, 1, 0, 1}}, input, DType::kBF16, 2);
  EXPECT_TRUE(kernel.Prepare().ok());
  Floats all(tokens * head_dim, 0.0f);
  for (int64_t i = 0; i < chunks; ++i) {
    std::copy(x[i].begin(), x[i].end(), all.begin() + i * kScanChunk * head_dim);
  }
  const Floats y =
      Feed(kernel, {{"x", all}, {"b", ones}, {"c", ones}, {"dt", ones}}, std::vector<int64_t>(chunks, kScanChunk));
  Floats sums;
  for (int64_t i = 0; i < chunks; ++i) {
    const Floats row = Rows(y, head_dim, i * kScanChunk, 1);
    sums.insert(sums.end(), row.begin(), row.end());
  }
  return sums;
}

TEST_P(SequenceTest, SsmScanRoundsTheStateAfterEachChunk) {
  // 257 and 259 lie in the middle of two BF16 numbers, and the even one is taken: 256 and 260. Outputs see the middle.
  EXPECT_EQ(AddUpInBF16({{256}, {1}, {1}, {3}, {0}, {-1}}), (Floats{256, 257, 257, 259, 260, 259}));
}

TEST_P(SequenceTest, SsmScanRoundsAllNumbers) {
  Floats x = {std::numeric_limits<float>::max(), 0x1.FFp127f};  // both round to infinity
  for (uint32_t upper = 0; upper < 0x10000; upper += 7) {       // finite BF16 numbers and what lies behind them
    for (const uint32_t lower : {0x0000u, 0x0001u, 0x7FFFu, 0x8000u, 0x8001u, 0xFFFFu}) {
      if ((upper & 0x7F80) != 0x7F80) {
        x.push_back(std::bit_cast<float>(upper << 16 | lower));
      }
    }
  }
  const Floats y = AddUpInBF16({x, Floats(x.size(), 0.0f)});
  for (size_t i = 0; i < x.size(); ++i) {
    ASSERT_EQ(y[i], x[i]) << i;
    ASSERT_EQ(y[x.size() + i], BF16ToF32(F32ToBF16(x[i]))) << std::bit_cast<uint32_t>(x[i]);
  }
}

// A NaN must not come out as a number later; most are made by arithmetic, some come with the weights.
TEST_P(SequenceTest, SsmScanKeepsNaN) {
  for (const uint32_t bits : {0x7FC00000u, 0xFFC00000u, 0xFFFF0000u, 0x7FFF7FFFu, 0xFF800001u}) {
    const Floats y = AddUpInBF16({{std::bit_cast<float>(bits)}, {0}, {1}});
    EXPECT_TRUE(std::isnan(y[0]) && std::isnan(y[1]) && std::isnan(y[2])) << bits;
  }
}

/// What a cache of `dtype` keeps of `values`; `scale` as in key_scale and value_scale.
Floats RoundToCache(Floats values, DType dtype, float scale = 1) {
  for (float& value : values) {
    value = dtype == DType::kBF16     ? BF16ToF32(F32ToBF16(value))
            : dtype == DType::kF8E4M3 ? F8E4M3ToF32(F32ToF8E4M3(value / scale)) * scale
                                      : value;
  }
  return values;
}

struct AttentionShape {
  int64_t tokens, heads, kv_heads, head_dim, page_tokens = 16;
  DType cache = DType::kF32;
  float scale = 1, key_scale = 0.0071f, value_scale = 0.013f;  // the last two: of an E4M3 cache
};

std::string Name(const AttentionShape& s) {
  return fmt::format("T {} A {} K {} P {} page {} {}", s.tokens, s.heads, s.kv_heads, s.head_dim, s.page_tokens,
                     DTypeName(s.cache));
}

KernelFixture MakeAttention(const AttentionShape& s, int threads = 2) {
  KernelFixture kernel("cpu.attention", s.tokens + 16, threads);
  kernel.arguments.page_tokens = s.page_tokens;
  kernel.Input("query", s.heads * s.head_dim).Output("output", s.heads * s.head_dim);
  kernel.Input("key", s.kv_heads * s.head_dim).Input("value", s.kv_heads * s.head_dim);
  kernel.State("cache", StateKind::kKvCache, {2, s.kv_heads, s.head_dim}, s.cache).Float("scale", s.scale);
  kernel.Int("num_heads", s.heads).Int("num_kv_heads", s.kv_heads).Int("head_dim", s.head_dim);
  if (s.cache == DType::kF8E4M3) {
    kernel.Float("key_scale", s.key_scale).Float("value_scale", s.value_scale);
  }
  return kernel;
}

Inputs RandomAttention(const AttentionShape& s, float size = 1) {
  return {{"query", Random(s.tokens * s.heads * s.head_dim, 1, size)},
          {"key", Random(s.tokens * s.kv_heads * s.head_dim, 2, size)},
          {"value", Random(s.tokens * s.kv_heads * s.head_dim, 3)}};
}

/// The output of a sequence in one step.
Floats RunAttention(const AttentionShape& shape, const Inputs& inputs) {
  KernelFixture kernel = MakeAttention(shape);
  const Status status = kernel.Prepare();
  EXPECT_TRUE(status.ok()) << status.message();
  return Feed(kernel, inputs, {shape.tokens});
}

/// What the reference makes of inputs rounded as the kernel rounds them: keys and values to the cache, and queries,
/// with the scales in them, to BF16 unless the cache is F32.
Floats ExpectedAttention(const AttentionShape& shape, const Inputs& inputs) {
  Floats query = inputs.at("query");
  float scale = shape.scale;
  if (shape.cache != DType::kF32) {
    const float key_scale = shape.cache == DType::kF8E4M3 ? shape.key_scale : 1;
    constexpr float kLog2e = std::numbers::log2e_v<float>;
    std::transform(query.begin(), query.end(), query.begin(),
                   [&](float q) { return q * (scale * key_scale * kLog2e); });
    query = RoundBF16(query);
    std::transform(query.begin(), query.end(), query.begin(), [&](float q) { return q / key_scale / kLog2e; });
    scale = 1;
  }
  return reference::Attention(query, RoundToCache(inputs.at("key"), shape.cache, shape.key_scale),
                              RoundToCache(inputs.at("value"), shape.cache, shape.value_scale), shape.heads,
                              shape.kv_heads, shape.head_dim, scale);
}

/// Scores of about 1 with head_dim roundings, exponentials of a few units in the last place, a weighted mean of values
/// of up to 4. Unless the cache is F32 each weight is rounded to BF16 before it is used and summed: by up to 2^-9 of
/// itself, so the mean is off by up to 2^-9 of the values' distance from it.
double AttentionTolerance(const AttentionShape& shape) {
  const double rounding = shape.cache == DType::kF32 ? 0 : 0x1p-9 * 6;
  return static_cast<double>(shape.head_dim + 32) * 6e-8 * 16 + rounding;
}

TEST_P(SequenceTest, Attention) {
  constexpr DType kF32 = DType::kF32, kBF16 = DType::kBF16, kE4M3 = DType::kF8E4M3;
  for (AttentionShape shape : std::vector<AttentionShape>{{50, 4, 2, 32},
                                                          {1, 4, 2, 32},
                                                          {50, 4, 4, 32},
                                                          {50, 4, 1, 32},
                                                          {50, 5, 1, 32},
                                                          {50, 12, 1, 32},
                                                          {50, 24, 1, 32},
                                                          {50, 4, 2, 20},
                                                          {50, 4, 2, 64, 48},
                                                          {50, 4, 2, 80, 64},
                                                          {50, 2, 1, 128},
                                                          {50, 2, 1, 192},
                                                          {50, 4, 2, 32, 16, kBF16},
                                                          {50, 4, 2, 21, 16, kBF16},
                                                          {50, 24, 1, 40, 48, kBF16},
                                                          {50, 4, 2, 32, 16, kE4M3},
                                                          {1, 4, 2, 32, 16, kE4M3},
                                                          {50, 5, 1, 32, 16, kE4M3},
                                                          {50, 24, 2, 80, 64, kE4M3},
                                                          {50, 4, 2, 20, 48, kE4M3},
                                                          {50, 4, 2, 7, 16, kE4M3},
                                                          {50, 2, 1, 1, 16, kE4M3},
                                                          {50, 2, 1, 192, 16, kE4M3},
                                                          {1100, 2, 1, 16, 48, kF32},
                                                          {1100, 2, 1, 16, 64, kBF16},
                                                          {1100, 2, 1, 16, 64, kE4M3},
                                                          {1100, 5, 1, 20, 48, kE4M3}}) {
    shape.scale = static_cast<float>(1 / std::sqrt(static_cast<double>(shape.head_dim)));
    const Inputs inputs = RandomAttention(shape);
    const auto make = [&](int threads) { return MakeAttention(shape, threads); };
    KernelFixture kernel = make(2);
    const Status status = kernel.Prepare();
    ASSERT_TRUE(status.ok()) << status.message();
    const Floats whole = Feed(kernel, inputs, {shape.tokens});
    ExpectNear(whole, ExpectedAttention(shape, inputs), AttentionTolerance(shape), Name(shape));
    if (shape.tokens < 100) {
      ExpectInvariant(make, inputs, shape.tokens, Name(shape));
    } else {  // across segments of 512: cuts before, at and after the border, and single tokens beyond it
      for (const std::vector<int64_t>& cut : std::vector<std::vector<int64_t>>{
               {511, 1, 588}, {512, 588}, {513, 1, 1, 1, 584}, {1000, 1, 1, 98}, {300, 300, 300, 200}}) {
        ASSERT_EQ(Feed(kernel, inputs, cut), whole) << Name(shape) << ", cut into " << cut.size();
      }
      KernelFixture alone = make(1);
      ASSERT_TRUE(alone.Prepare().ok());
      ASSERT_EQ(Feed(alone, inputs, {shape.tokens}), whole) << Name(shape) << ", 1 thread";
    }
  }
}

// E4M3 saturates, and scales of powers of two change no rounding on the way.
TEST_P(SequenceTest, AttentionRoundsToTheCache) {
  AttentionShape shape = {21, 2, 2, 24, 16, DType::kF8E4M3, 0.2f, 1, 1};
  Inputs inputs = RandomAttention(shape);
  inputs["value"][0] = -1000;
  const Floats found = RunAttention(shape, inputs);
  inputs["value"][0] = -448;
  EXPECT_EQ(found, RunAttention(shape, inputs));
  shape.key_scale = 0x1p-7f;
  shape.value_scale = 0x1p-9f;
  inputs = RandomAttention(shape);
  ExpectNear(RunAttention(shape, inputs), ExpectedAttention(shape, inputs), AttentionTolerance(shape), Name(shape));
}

// Every E4M3 number is read back as it was written. Of one token, the output is the value.
TEST_P(SequenceTest, AttentionReadsAllE4M3Numbers) {
  const AttentionShape shape = {1, 1, 1, 256, 16, DType::kF8E4M3, 0, 1, 1};
  Inputs inputs = RandomAttention(shape);
  for (int code = 0; code < 256; ++code) {
    inputs["value"][code] = F8E4M3ToF32(static_cast<uint8_t>(code));
  }
  const Floats found = RunAttention(shape, inputs);
  for (int code = 0; code < 256; ++code) {
    const float value = inputs["value"][code];
    EXPECT_TRUE(found[code] == value || (std::isnan(found[code]) && std::isnan(value))) << code << " " << found[code];
  }
}

// A NaN among keys or values reaches every row that sees it and no other, whatever its segment.
TEST_P(SequenceTest, AttentionKeepsNaN) {
  constexpr int64_t kTokens = 600, kHeadDim = 8;
  for (const DType cache : {DType::kF32, DType::kBF16, DType::kF8E4M3}) {
    const AttentionShape shape = {kTokens, 1, 1, kHeadDim, 16, cache};
    for (const char* name : {"key", "value"}) {
      for (const int64_t at : {0, 17, 511, 512, 599}) {
        Inputs inputs = RandomAttention(shape);
        inputs[name][at * kHeadDim + 3] = std::numeric_limits<float>::quiet_NaN();
        const Floats found = RunAttention(shape, inputs);
        for (int64_t t = 0; t < kTokens; ++t) {
          ASSERT_EQ(std::isnan(found[t * kHeadDim + 3]), t >= at) << Name(shape) << " " << name << " " << at;
        }
      }
    }
  }
}

// The same where the tokens of a tile lie in two segments, and where one shares a group of k with a token of the next.
TEST_P(SequenceTest, AttentionKeepsNaNAcrossSegments) {
  constexpr int64_t kTokens = 600, kHeadDim = 8;
  for (const DType cache : {DType::kF32, DType::kBF16, DType::kF8E4M3}) {
    const AttentionShape shape = {kTokens, 1, 1, kHeadDim, 16, cache};
    for (const int64_t at : {500, 501, 502, 511, 512, 514, 515, 516}) {
      Inputs inputs = RandomAttention(shape);
      inputs["value"][at * kHeadDim + 3] = std::numeric_limits<float>::quiet_NaN();
      KernelFixture kernel = MakeAttention(shape);
      ASSERT_TRUE(kernel.Prepare().ok());
      const Floats found = Feed(kernel, inputs, {499, 101});
      for (int64_t t = 0; t < kTokens; ++t) {
        ASSERT_EQ(std::isnan(found[t * kHeadDim + 3]), t >= at) << Name(shape) << " " << at << " " << t;
      }
    }
  }
}

// Scores of thousands overflow the exponential unless the maximum is taken off, within a segment and between segments.
TEST_P(SequenceTest, AttentionWithLargeScores) {
  const AttentionShape shape = {600, 1, 1, 8};
  const Inputs inputs = RandomAttention(shape, 30);
  const auto& [k, q, v] = std::tie(inputs.at("key"), inputs.at("query"), inputs.at("value"));
  // A score of up to 2e4 is off by 8 roundings of 2^-24 of itself, 1e-2, and a weight by that factor of itself.
  ExpectNear(RunAttention(shape, inputs), reference::Attention(q, k, v, 1, 1, shape.head_dim, 1),
             2e4 * static_cast<double>(shape.head_dim) * 6e-8 * 4, "large scores");
}

struct RotaryCase {
  int64_t head_dim, rotary_dim;
  double theta, position_scale;
  int64_t first_position = 0;
  bool bf16_frequencies = false;
};

TEST_P(SequenceTest, RotaryEmbedding) {
  for (const auto& [head_dim, rotary_dim, theta, position_scale, first_position, bf16_frequencies] :
       std::vector<RotaryCase>{{16, 16, 1e4, 1},
                               {16, 8, 1e4, 1},
                               {20, 10, 5e5, 1},
                               {16, 2, 1e4, 0.25},
                               {16, 16, 1e4, 1, 5000},
                               {16, 16, 1e4, 1, 0, true},
                               {192, 96, 1e4, 1}}) {
    const std::string what =
        fmt::format("P {} rotary {} theta {} from {}", head_dim, rotary_dim, theta, first_position);
    const int64_t columns = 3 * head_dim, tokens = 60;
    const Floats x = Random(tokens * columns, 1);
    const auto make = [&, head_dim = head_dim, rotary_dim = rotary_dim, theta = theta, position_scale = position_scale,
                       bf16_frequencies = bf16_frequencies](int threads) {
      KernelFixture kernel("cpu.rotary_embedding", 80, threads);
      kernel.Input("input", columns).Output("output", columns).Int("head_dim", head_dim).Int("rotary_dim", rotary_dim);
      kernel.Float("theta", theta).Float("position_scale", position_scale).Bool("bf16_frequencies", bf16_frequencies);
      return kernel;
    };
    KernelFixture kernel = make(2);
    ASSERT_TRUE(kernel.Prepare().ok());
    TestSequence sequence = kernel.NewSequence();
    sequence.position = first_position;
    kernel.SetInput("input", 0, x);
    kernel.Step({&sequence}, {tokens});
    // The angle and the frequency are rounded in F32: position * 2^-24 of a radian each, times values of up to 4.
    ExpectNear(kernel.GetOutput("output", tokens),
               reference::RotaryEmbedding(x, columns, head_dim, rotary_dim, theta, position_scale, first_position,
                                          bf16_frequencies),
               (first_position + tokens) * 6e-8 * 8 + 1e-6, what);
    ExpectInvariant(make, {{"input", x}}, tokens, what);
  }
}

}  // namespace
}  // namespace nemotron::runtime::cpu
