// Kernels that mix tokens and keep state: convolution, scan, attention, rotary embedding. Each against the reference
// over a whole sequence, and bit for bit against itself however the sequence is cut and whatever shares its steps.

#include <cmath>

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

KernelFixture MakeScan(const char* name, const ScanCase& scan, const reference::ScanInput& input, int threads) {
  const auto& s = scan.shape;
  KernelFixture kernel(name, 64, threads);
  kernel.Input("x", s.heads * s.head_dim).Input("b", s.groups * s.state_size).Input("c", s.groups * s.state_size);
  kernel.Input("dt", s.heads)
      .Output("output", s.heads * s.head_dim)
      .Vector("a_log", input.a_log)
      .Vector("dt_bias", input.dt_bias);
  kernel.State("ssm", StateKind::kSsm, {s.heads, s.head_dim, s.state_size});
  kernel.Int("num_heads", s.heads)
      .Int("head_dim", s.head_dim)
      .Int("n_groups", s.groups)
      .Int("state_size", s.state_size);
  kernel.Float("dt_min", s.dt_min).Float("dt_max", s.dt_max);
  return kernel;
}

std::string Name(const ScanCase& scan) {
  const auto& s = scan.shape;
  return fmt::format("T {} H {} P {} G {} N {}", scan.tokens, s.heads, s.head_dim, s.groups, s.state_size);
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

TEST_P(SequenceTest, SsmScan) {
  for (const ScanCase& scan : ScanCases()) {
    const reference::ScanInput input = RandomScan(scan);
    const Inputs inputs = {{"x", input.x}, {"b", input.b}, {"c", input.c}, {"dt", input.dt}};
    const auto make = [&](int threads) { return MakeScan("cpu.ssm_scan", scan, input, threads); };
    KernelFixture kernel = make(2);
    const Status status = kernel.Prepare();
    ASSERT_TRUE(status.ok()) << status.message();
    const Floats expected = reference::SsmScan(input, scan.shape);
    // A state element takes one rounding a token and decays; the sum over N adds N more.
    const double tolerance = (scan.tokens + scan.shape.state_size) * 6e-8 * Largest(expected) + 1e-5;
    ExpectNear(Feed(kernel, inputs, {scan.tokens}), expected, tolerance, Name(scan));
    ExpectInvariant(make, inputs, scan.tokens, Name(scan));
  }
}

TEST_P(SequenceTest, SsmScanGatedNorm) {
  for (const ScanCase& scan : ScanCases()) {
    const auto& s = scan.shape;
    const reference::ScanInput input = RandomScan(scan);
    const Floats gate = Random(scan.tokens * s.heads * s.head_dim, 7), d = Random(s.heads, 8),
                 weight = Random(s.heads * s.head_dim, 9);
    const Inputs inputs = {{"x", input.x}, {"b", input.b}, {"c", input.c}, {"dt", input.dt}, {"gate", gate}};
    const auto make = [&](int threads) {
      KernelFixture kernel = MakeScan("cpu.ssm_scan_gated_norm", scan, input, threads);
      kernel.Input("gate", s.heads * s.head_dim).Vector("d", d).Vector("weight", weight).Float("eps", 1e-5);
      return kernel;
    };
    KernelFixture kernel = make(2);
    const Status status = kernel.Prepare();
    ASSERT_TRUE(status.ok()) << status.message();
    const Floats scanned = reference::SsmScan(input, s);
    const Floats expected =
        reference::GatedRMSNorm(reference::SsmSkip(scanned, input.x, d, s.head_dim), gate, weight, s.groups, 1e-5);
    // The norm brings the scan's relative error to outputs of up to sqrt(width) times the weight.
    const double tolerance = (scan.tokens + s.state_size + 64) * 6e-8 * Largest(expected) * 8 + 1e-5;
    ExpectNear(Feed(kernel, inputs, {scan.tokens}), expected, tolerance, Name(scan));
    ExpectInvariant(make, inputs, scan.tokens, Name(scan));
  }
}

struct AttentionShape {
  int64_t tokens, heads, kv_heads, head_dim, page_tokens;
  DType cache;
};

TEST_P(SequenceTest, Attention) {
  for (const auto& [tokens, heads, kv_heads, head_dim, page_tokens, cache] :
       std::vector<AttentionShape>{{50, 4, 2, 32, 16, DType::kF32},
                                   {1, 4, 2, 32, 16, DType::kF32},
                                   {50, 4, 4, 32, 16, DType::kF32},
                                   {50, 4, 1, 32, 16, DType::kF32},
                                   {50, 24, 1, 32, 16, DType::kF32},
                                   {50, 4, 2, 20, 16, DType::kF32},
                                   {50, 4, 2, 64, 48, DType::kF32},
                                   {50, 4, 2, 80, 64, DType::kF32},
                                   {50, 2, 1, 128, 16, DType::kF32},
                                   {50, 2, 1, 192, 16, DType::kF32},
                                   {50, 4, 2, 32, 16, DType::kBF16},
                                   {1100, 2, 1, 16, 48, DType::kF32},
                                   {1100, 2, 1, 16, 64, DType::kBF16}}) {
    const std::string what =
        fmt::format("T {} A {} K {} P {} page {} {}", tokens, heads, kv_heads, head_dim, page_tokens, DTypeName(cache));
    Floats q = Random(tokens * heads * head_dim, 1), k = Random(tokens * kv_heads * head_dim, 2),
           v = Random(tokens * kv_heads * head_dim, 3);
    if (cache == DType::kBF16) {
      k = RoundBF16(k);  // what the cache holds is then exact
      v = RoundBF16(v);
    }
    const double scale = 1 / std::sqrt(static_cast<double>(head_dim));
    const auto make = [&, tokens = tokens, heads = heads, kv_heads = kv_heads, head_dim = head_dim,
                       page_tokens = page_tokens, cache = cache](int threads) {
      KernelFixture kernel("cpu.attention", tokens + 16, threads);
      kernel.arguments.page_tokens = page_tokens;
      kernel.Input("query", heads * head_dim).Input("key", kv_heads * head_dim).Input("value", kv_heads * head_dim);
      kernel.Output("output", heads * head_dim).State("cache", StateKind::kKvCache, {2, kv_heads, head_dim}, cache);
      kernel.Int("num_heads", heads).Int("num_kv_heads", kv_heads).Int("head_dim", head_dim).Float("scale", scale);
      return kernel;
    };
    const Inputs inputs = {{"query", q}, {"key", k}, {"value", v}};
    KernelFixture kernel = make(2);
    const Status status = kernel.Prepare();
    ASSERT_TRUE(status.ok()) << status.message();
    const Floats whole = Feed(kernel, inputs, {tokens});
    // Scores of about 1 with head_dim roundings, exponentials of a few units in the last place, a weighted mean of
    // values of up to 4.
    ExpectNear(whole, reference::Attention(q, k, v, heads, kv_heads, head_dim, scale), (head_dim + 32) * 6e-8 * 16,
               what);
    if (tokens < 100) {
      ExpectInvariant(make, inputs, tokens, what);
    } else {  // across segments of 512: cuts before, at and after the border, and single tokens beyond it
      for (const std::vector<int64_t>& cut : std::vector<std::vector<int64_t>>{
               {511, 1, 588}, {512, 588}, {513, 1, 1, 1, 584}, {1000, 1, 1, 98}, {300, 300, 300, 200}}) {
        ASSERT_EQ(Feed(kernel, inputs, cut), whole) << what << ", cut into " << cut.size();
      }
      KernelFixture alone = make(1);
      ASSERT_TRUE(alone.Prepare().ok());
      ASSERT_EQ(Feed(alone, inputs, {tokens}), whole) << what << ", 1 thread";
    }
  }
}

// A BF16 cache rounds what it is given, to nearest even.
TEST_P(SequenceTest, AttentionRoundsToTheCache) {
  constexpr int64_t kTokens = 21, kHeads = 2, kHeadDim = 24;
  const Floats q = Random(kTokens * kHeads * kHeadDim, 1), k = Random(kTokens * kHeads * kHeadDim, 2),
               v = Random(kTokens * kHeads * kHeadDim, 3);
  const auto run = [&](const Floats& keys, const Floats& values) {
    KernelFixture kernel("cpu.attention");
    kernel.Input("query", kHeads * kHeadDim).Input("key", kHeads * kHeadDim).Input("value", kHeads * kHeadDim);
    kernel.Output("output", kHeads * kHeadDim);
    kernel.State("cache", StateKind::kKvCache, {2, kHeads, kHeadDim}, DType::kBF16).Float("scale", 0.2);
    kernel.Int("num_heads", kHeads).Int("num_kv_heads", kHeads).Int("head_dim", kHeadDim);
    EXPECT_TRUE(kernel.Prepare().ok());
    return Feed(kernel, {{"query", q}, {"key", keys}, {"value", values}}, {kTokens});
  };
  EXPECT_EQ(run(k, v), run(RoundBF16(k), RoundBF16(v)));
}

// Scores of thousands overflow the exponential unless the maximum is taken off, within a segment and between segments.
TEST_P(SequenceTest, AttentionWithLargeScores) {
  constexpr int64_t kTokens = 600, kHeadDim = 8;
  const Floats q = Random(kTokens * kHeadDim, 1, 30), k = Random(kTokens * kHeadDim, 2, 30),
               v = Random(kTokens * kHeadDim, 3);
  KernelFixture kernel("cpu.attention", kTokens);
  kernel.Input("query", kHeadDim).Input("key", kHeadDim).Input("value", kHeadDim).Output("output", kHeadDim);
  kernel.State("cache", StateKind::kKvCache, {2, 1, kHeadDim}).Float("scale", 1);
  kernel.Int("num_heads", 1).Int("num_kv_heads", 1).Int("head_dim", kHeadDim);
  ASSERT_TRUE(kernel.Prepare().ok());
  // A score of up to 2e4 is off by 8 roundings of 2^-24 of itself, 1e-2, and a weight by that factor of itself.
  ExpectNear(Feed(kernel, {{"query", q}, {"key", k}, {"value", v}}, {kTokens}),
             reference::Attention(q, k, v, 1, 1, kHeadDim, 1), 2e4 * kHeadDim * 6e-8 * 4, "large scores");
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
