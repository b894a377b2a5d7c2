// A plan is untrusted: what Prepare refuses, and with which words. Every kernel is spoiled in the same ways, one
// argument at a time; relations that only one kernel has follow one by one.

#include <cmath>
#include <functional>
#include <limits>
#include <optional>
#include <utility>

#include "tests/runtime/cpu/kernel_fixture.h"

namespace nemotron::runtime::cpu {
namespace {

using testing::AnyOf;
using testing::HasSubstr;
using testing::StartsWith;

KernelFixture& Scan(KernelFixture& f) {
  f.Input("x", 32).Input("b", 12).Input("c", 12).Input("dt", 4).Output("output", 32);
  f.Vector("a_log", Random(4, 1)).Vector("dt_bias", Random(4, 2)).State("ssm", StateKind::kSsm, {4, 8, 6});
  f.State("recent", StateKind::kRecent, {16, 4 * 9 + 2 * 6});
  f.Int("num_heads", 4).Int("head_dim", 8).Int("n_groups", 2).Int("state_size", 6);
  return f.Float("dt_min", 0).Float("dt_max", 1e30);
}

/// What the kernels that quantize say of it.
KernelFixture& Quantized(KernelFixture& f) {
  return f.Output("output", 8, DType::kF8E4M3).Output("scale", 1).Text("scaling", "static").Float("scale", 0.5);
}

KernelFixture& ScaledMoeExperts(KernelFixture& f) {
  f.Input("input", 4).Input("indices", 2, DType::kI32).Input("weights", 2).Output("output", 4);
  f.Weight("up", {2, 3, 4}, Random(24, 1), DType::kF8E4M3, Layout::kPanel);
  f.Weight("up_scale", {2, 3}, Random(6, 1), DType::kF32, Layout::kRowMajor);
  f.Weight("down", {2, 4, 3}, Random(24, 1), DType::kF8E4M3, Layout::kPanel);
  f.Weight("down_scale", {2, 4}, Random(8, 1), DType::kF32, Layout::kRowMajor);
  f.Vector("up_input_scale", Random(2, 1)).Vector("down_input_scale", Random(2, 1));
  return f.Text("activations", "e4m3");
}

bool IsOptional(std::string_view weight) { return weight == "bias" || weight.ends_with("_input_scale"); }

/// A dispatch of each kernel, with every optional argument, that Prepare accepts.
const std::map<std::string, std::function<void(KernelFixture&)>>& Makers() {
  const auto vector = [](int64_t size) { return Random(size, 1); };
  const auto unary = [](KernelFixture& f) { f.Input("input", 8).Output("output", 8); };
  static const std::map<std::string, std::function<void(KernelFixture&)>> makers = {
      {"cpu.add", [](KernelFixture& f) { f.Input("lhs", 8).Input("rhs", 8).Output("output", 8); }},
      {"cpu.add_layer_norm",
       [=](KernelFixture& f) {
         f.Input("residual", 8).Input("delta", 8).Output("sum", 8).Output("output", 8).Vector("weight", vector(8));
         f.Vector("bias", vector(8)).Float("eps", 1e-5).Bool("unit_offset", true);
       }},
      {"cpu.add_layer_norm_quantize",
       [=](KernelFixture& f) {
         Quantized(f).Input("residual", 8).Input("delta", 8).Output("sum", 8).Vector("weight", vector(8));
         f.Vector("bias", vector(8)).Float("eps", 1e-5).Bool("unit_offset", true);
       }},
      {"cpu.add_rms_norm",
       [=](KernelFixture& f) {
         f.Input("residual", 8).Input("delta", 8).Output("sum", 8).Output("output", 8).Vector("weight", vector(8));
         f.Float("eps", 1e-5);
       }},
      {"cpu.add_rms_norm_quantize",
       [=](KernelFixture& f) {
         Quantized(f).Input("residual", 8).Input("delta", 8).Output("sum", 8).Vector("weight", vector(8));
         f.Float("eps", 1e-5);
       }},
      {"cpu.attention",
       [](KernelFixture& f) {
         f.Input("query", 32).Input("key", 16).Input("value", 16).Output("output", 32);
         f.State("cache", StateKind::kKvCache, {2, 2, 8});
         f.Int("num_heads", 4).Int("num_kv_heads", 2).Int("head_dim", 8).Float("scale", 1);
       }},
      {"cpu.causal_conv1d",
       [=](KernelFixture& f) {
         f.Input("input", 8).Output("output", 8).Vector("bias", vector(8)).State("conv", StateKind::kConv, {3, 8});
         f.Weight("weight", {4, 8}, vector(32), DType::kF32, Layout::kRowMajor).Text("activation", "silu");
       }},
      {"cpu.embedding",
       [=](KernelFixture& f) {
         f.Output("output", 8).Weight("weight", {3, 8}, vector(24), DType::kF32, Layout::kRowMajor);
       }},
      {"cpu.gated_rms_norm",
       [=](KernelFixture& f) {
         f.Input("input", 8).Input("gate", 8).Output("output", 8).Vector("weight", vector(8));
         f.Int("n_groups", 2).Float("eps", 1e-5);
       }},
      {"cpu.layer_norm",
       [=](KernelFixture& f) {
         f.Input("input", 8).Output("output", 8).Vector("weight", vector(8)).Vector("bias", vector(8));
         f.Float("eps", 1e-5).Bool("unit_offset", true);
       }},
      {"cpu.layer_norm_quantize",
       [=](KernelFixture& f) {
         Quantized(f).Input("input", 8).Vector("weight", vector(8)).Vector("bias", vector(8));
         f.Float("eps", 1e-5).Bool("unit_offset", true);
       }},
      {"cpu.linear",
       [=](KernelFixture& f) {
         f.Input("input", 8).Output("output", 5).Vector("bias", vector(5));
         f.Weight("weight", {5, 8}, vector(40), DType::kF32, Layout::kPanel);
         f.Text("activation", "none").Bool("split_input", false);
       }},
      {"cpu.moe_experts",
       [=](KernelFixture& f) {
         f.Input("input", 4).Input("indices", 2, DType::kI32).Input("weights", 2).Output("output", 4);
         f.Weight("up", {2, 3, 4}, vector(24), DType::kF32, Layout::kPanel);
         f.Weight("down", {2, 4, 3}, vector(24), DType::kF32, Layout::kPanel).Bool("split_input", false);
       }},
      {"cpu.moe_route",
       [=](KernelFixture& f) {
         f.Input("input", 4).Output("indices", 2, DType::kI32).Output("weights", 2);
         f.Weight("weight", {8, 4}, vector(32), DType::kF32, Layout::kPanel).Vector("correction_bias", vector(8));
         f.Int("num_experts_per_tok", 2).Int("n_group", 2).Int("topk_group", 1);
         f.Bool("norm_topk_prob", true).Float("routed_scaling_factor", 1);
       }},
      {"cpu.quantize", [](KernelFixture& f) { Quantized(f).Input("input", 8).Text("activation", "relu2"); }},
      {"cpu.relu2", unary},
      {"cpu.rms_norm",
       [=](KernelFixture& f) {
         f.Input("input", 8).Output("output", 8).Vector("weight", vector(8)).Float("eps", 1e-5);
       }},
      {"cpu.rms_norm_quantize",
       [=](KernelFixture& f) { Quantized(f).Input("input", 8).Vector("weight", vector(8)).Float("eps", 1e-5); }},
      {"cpu.rotary_embedding",
       [](KernelFixture& f) {
         f.Input("input", 16).Output("output", 16).Int("head_dim", 8).Int("rotary_dim", 4).Float("theta", 1e4);
         f.Float("position_scale", 1).Bool("bf16_frequencies", false);
       }},
      {"cpu.scaled_matmul",
       [=](KernelFixture& f) {
         f.Input("input", 8, DType::kF8E4M3).Input("input_scale", 1).Output("output", 5).Vector("bias", vector(5));
         f.Weight("weight", {5, 8}, vector(40), DType::kF8E4M3, Layout::kPanel).Vector("weight_scale", vector(5));
         f.Text("activation", "none");
       }},
      {"cpu.scaled_moe_experts", [](KernelFixture& f) { ScaledMoeExperts(f); }},
      {"cpu.select_rows", [](KernelFixture& f) { f.Input("input", 8).Output("output", 8, DType::kF32, Space::kRow); }},
      {"cpu.silu", unary},
      {"cpu.ssm_scan", [](KernelFixture& f) { Scan(f); }},
      {"cpu.ssm_scan_gated_norm",
       [=](KernelFixture& f) {
         Scan(f).Input("gate", 32).Vector("d", vector(4)).Vector("weight", vector(32)).Float("eps", 1e-5);
       }},
      {"cpu.ssm_skip",
       [=](KernelFixture& f) {
         f.Input("y", 32).Input("x", 32).Output("output", 32).Vector("d", vector(4));
         f.Int("num_heads", 4).Int("head_dim", 8);
       }},
  };
  return makers;
}

KernelFixture Make(std::string_view kernel) {
  KernelFixture fixture{std::string(kernel)};
  Makers().at(std::string(kernel))(fixture);
  return fixture;
}

class EachKernel : public testing::TestWithParam<std::string_view> {
 protected:
  /// The message, less the kernel's name, of Prepare after `spoil` of the arguments.
  template <typename Spoil>
  std::string Error(const Spoil& spoil) {
    KernelFixture fixture = Make(GetParam());
    spoil(fixture.arguments);
    const std::string message = fixture.PrepareError(), prefix = std::string(GetParam()) + ": ";
    EXPECT_THAT(message, StartsWith(prefix));
    return message.substr(std::min(message.size(), prefix.size()));
  }

  /// Calls function(kind, name, member of DispatchArguments) for each input and output.
  template <typename Function>
  void ForBuffers(const Function& function) {
    const KernelFixture fixture = Make(GetParam());
    for (const auto& [name, buffer] : fixture.arguments.inputs) {
      function("input", name, &DispatchArguments::inputs);
    }
    for (const auto& [name, buffer] : fixture.arguments.outputs) {
      function("output", name, &DispatchArguments::outputs);
    }
  }
};

INSTANTIATE_TEST_SUITE_P(Kernel, EachKernel, testing::ValuesIn(KernelNames()),
                         [](const auto& info) { return std::string(info.param.substr(4)); });

TEST_P(EachKernel, IsPrepared) {
  const Status status = Make(GetParam()).Prepare();
  EXPECT_TRUE(status.ok()) << status.message();
}

TEST_P(EachKernel, MissingArguments) {
  ForBuffers([&](std::string kind, std::string name, auto member) {
    EXPECT_EQ(Error([&](DispatchArguments& a) { (a.*member).erase(name); }),
              name == "input_scale" ? "input 'input' is f8e4m3, expected f32" : kind + " '" + name + "' is missing");
  });
  const KernelFixture fixture = Make(GetParam());
  for (const auto& [name, weight] : fixture.arguments.weights) {
    if (!IsOptional(name)) {
      EXPECT_EQ(Error([&](DispatchArguments& a) { a.weights.erase(name); }), "weight '" + name + "' is missing");
    }
  }
  for (const auto& [name, state] : fixture.arguments.states) {
    EXPECT_EQ(Error([&](DispatchArguments& a) { a.states.erase(name); }), "state '" + name + "' is missing");
  }
  for (const auto& [name, parameter] : fixture.arguments.parameters) {
    EXPECT_EQ(Error([&](DispatchArguments& a) { a.parameters.erase(name); }), "parameter '" + name + "' is missing");
  }
}

TEST_P(EachKernel, OptionalWeights) {
  KernelFixture fixture = Make(GetParam());
  std::erase_if(fixture.arguments.weights, [](const auto& weight) { return IsOptional(weight.first); });
  const Status status = fixture.Prepare();
  EXPECT_TRUE(status.ok()) << status.message();
}

TEST_P(EachKernel, SurplusArguments) {
  const BufferArgument buffer{DType::kF32, Space::kToken, 8, 64, 0};
  EXPECT_EQ(Error([&](DispatchArguments& a) { a.inputs["more"] = buffer; }), "has no input 'more'");
  EXPECT_EQ(Error([&](DispatchArguments& a) { a.outputs["more"] = buffer; }), "has no output 'more'");
  EXPECT_EQ(Error([&](DispatchArguments& a) { a.weights["more"] = {}; }), "has no weight 'more'");
  EXPECT_EQ(Error([&](DispatchArguments& a) { a.states["more"] = {}; }), "has no state 'more'");
  EXPECT_EQ(Error([&](DispatchArguments& a) { a.parameters["more"] = true; }), "has no parameter 'more'");
}

TEST_P(EachKernel, Buffers) {
  ForBuffers([&](std::string kind, std::string name, auto member) {
    const auto error = [&](auto change) { return Error([&](DispatchArguments& a) { change((a.*member).at(name)); }); };
    EXPECT_EQ(error([](BufferArgument& b) { b.dtype = DType::kBF16; }).substr(0, kind.size() + name.size() + 13),
              kind + " '" + name + "' is bf16, ");
    // The width that the others are measured by is one of them, so any may be the one that does not fit.
    EXPECT_THAT(error([](BufferArgument& b) { b.columns += 1; }),
                AnyOf(HasSubstr(" columns, expected "), HasSubstr(", expected ["), HasSubstr("are not a multiple of")));
    EXPECT_THAT(error([](BufferArgument& b) { b.columns = 0; }),
                AnyOf(HasSubstr("has 0 columns"), HasSubstr("has 0 columns in rows of")));
    EXPECT_THAT(error([](BufferArgument& b) { b.row_bytes = (b.columns - 1) * SizeOf(b.dtype); }),
                HasSubstr("columns in rows of "));
    const KernelFixture fixture = Make(GetParam());
    if (SizeOf((fixture.arguments.*member).at(name).dtype) > 2) {
      EXPECT_THAT(error([](BufferArgument& b) { b.row_bytes += 2; }), HasSubstr("columns in rows of "));
    }
    EXPECT_THAT(error([](BufferArgument& b) { b.space = b.space == Space::kToken ? Space::kRow : Space::kToken; }),
                AnyOf(HasSubstr("count different things"), HasSubstr("must count tokens"), HasSubstr("does not count"),
                      HasSubstr("expected an input of tokens and an output of rows")));
  });
}

TEST_P(EachKernel, Weights) {
  const KernelFixture fixture = Make(GetParam());
  for (const auto& [name, weight] : fixture.arguments.weights) {
    const auto error = [&](auto change) { return Error([&](DispatchArguments& a) { change(a.weights.at(name)); }); };
    EXPECT_THAT(
        error([](WeightArgument& w) { w.dtype = DType::kF16; }),
        StartsWith("weight '" + name + "' is f16, expected " + (weight.dtype == DType::kF8E4M3 ? "f8e4m3" : "f32")));
    EXPECT_THAT(error([](WeightArgument& w) { w.shape.push_back(1); }), StartsWith("weight '" + name + "' is ["));
    EXPECT_THAT(error([](WeightArgument& w) { w.shape.back() += 1; }), HasSubstr("], expected ["));
    EXPECT_THAT(error([](WeightArgument& w) { w.shape.front() = 0; }), StartsWith("weight '" + name + "' is [0"));
    const bool panel = weight.layout == Layout::kPanel;
    EXPECT_EQ(
        error([&](WeightArgument& w) { w.layout = panel ? Layout::kRowMajor : Layout::kPanel; }),
        "weight '" + name + "' has layout " + (panel ? "row major, expected panel" : "panel, expected row major"));
  }
}

TEST_P(EachKernel, States) {
  const KernelFixture fixture = Make(GetParam());
  for (const auto& [name, state] : fixture.arguments.states) {
    const auto error = [&](auto change) { return Error([&](DispatchArguments& a) { change(a.states.at(name)); }); };
    const bool conv = state.kind == StateKind::kConv, window = conv || state.kind == StateKind::kRecent;
    EXPECT_THAT(error([&](StateArgument& s) { s.kind = conv ? StateKind::kSsm : StateKind::kConv; }),
                StartsWith("state '" + name + (conv ? "' is a ssm, " : "' is a conv, ")));
    EXPECT_THAT(error([](StateArgument& s) { s.shape.back() += 1; }), StartsWith("state '" + name + "' is ["));
    EXPECT_THAT(error([](StateArgument& s) { s.shape.pop_back(); }), StartsWith("state '" + name + "' is ["));
    EXPECT_EQ(error([](StateArgument& s) { s.dtype = DType::kF16; }),
              "state '" + name + "' is f16, expected f32" +
                  (window                              ? ""
                   : state.kind == StateKind::kKvCache ? ", bf16 or f8e4m3"
                                                       : " or bf16"));
  }
}

TEST_P(EachKernel, Parameters) {
  const KernelFixture fixture = Make(GetParam());
  for (const auto& [name, value] : fixture.arguments.parameters) {
    const auto error = [&](ParameterValue to) { return Error([&](DispatchArguments& a) { a.parameters[name] = to; }); };
    const std::string parameter = "parameter '" + name + "' is ";
    if (std::holds_alternative<int64_t>(value)) {
      EXPECT_EQ(error(1.0), parameter + "not an integer");
      EXPECT_EQ(error(int64_t{0}), parameter + "0, expected 1 to 2^31");
      EXPECT_EQ(error(int64_t{-1}), parameter + "-1, expected 1 to 2^31");
      EXPECT_EQ(error((int64_t{1} << 31) + 1), parameter + "2147483649, expected 1 to 2^31");
      error(int64_t{1} << 31);  // within range, but nothing fits it: an error, and no overflow on the way
    } else if (std::holds_alternative<double>(value)) {
      EXPECT_EQ(error(int64_t{1}), parameter + "not a float");
      EXPECT_EQ(error(std::nan("")), parameter + "NaN");
    } else {
      const bool is_bool = std::holds_alternative<bool>(value);
      EXPECT_EQ(error(int64_t{1}), parameter + (is_bool ? "not a bool" : "not a string"));
    }
    if (name == "eps") {
      EXPECT_EQ(error(-1.0), parameter + "-1, expected at least 0");
    }
  }
}

// Whole messages, one of each sort.
TEST(Messages, SayWhatWasFoundAndExpected) {
  const auto error = [](auto change) {
    KernelFixture fixture = Make("cpu.linear");
    change(fixture);
    return fixture.PrepareError();
  };
  EXPECT_EQ(error([](KernelFixture& f) { f.Input("input", 9); }),
            "cpu.linear: weight 'weight' is [5, 8], expected [any, 9]");
  EXPECT_EQ(error([](KernelFixture& f) { f.Output("output", 4); }),
            "cpu.linear: output 'output' has 4 columns, expected 5");
  EXPECT_EQ(error([](KernelFixture& f) { f.Vector("bias", Random(4, 1)); }),
            "cpu.linear: weight 'bias' is [4], expected [5]");
  EXPECT_EQ(error([](KernelFixture& f) { f.arguments.weights["weight"].dtype = DType::kF8E4M3; }),
            "cpu.linear: weight 'weight' is f8e4m3, expected f32 or bf16");
  EXPECT_EQ(error([](KernelFixture& f) { f.Input("input", 8, DType::kI32); }),
            "cpu.linear: input 'input' is i32, expected f32");
  EXPECT_EQ(error([](KernelFixture& f) { f.arguments.inputs["input"].row_bytes = 16; }),
            "cpu.linear: input 'input' has 8 columns in rows of 16 bytes");
  EXPECT_EQ(error([](KernelFixture& f) { f.Output("output", 5, DType::kF32, Space::kRow); }),
            "cpu.linear: input and output count different things");
}

// Relations between arguments that one kernel has alone.
TEST(Relations, AreChecked) {
  const auto error = [](std::string_view kernel, auto change) {
    KernelFixture fixture = Make(kernel);
    change(fixture);
    return fixture.PrepareError();
  };
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  EXPECT_EQ(error("cpu.attention", [](KernelFixture& f) { f.Int("num_kv_heads", 3); }),
            "cpu.attention: 4 heads are not a multiple of 3 kv heads");
  EXPECT_EQ(error("cpu.attention", [](KernelFixture& f) { f.Float("scale", kInfinity); }),
            "cpu.attention: scale is inf, expected a finite number");
  const auto e4m3_error = [&](std::optional<double> key_scale, std::optional<double> value_scale, double scale = 1) {
    return error("cpu.attention", [&](KernelFixture& f) {
      f.arguments.states["cache"].dtype = DType::kF8E4M3;
      f.Float("scale", scale);
      for (const auto& [name, value] : {std::pair("key_scale", key_scale), std::pair("value_scale", value_scale)}) {
        if (value.has_value()) {
          f.Float(name, *value);
        }
      }
    });
  };
  EXPECT_EQ(e4m3_error({}, 1), "cpu.attention: parameter 'key_scale' is missing");
  EXPECT_EQ(e4m3_error(1, {}), "cpu.attention: parameter 'value_scale' is missing");
  for (const auto& [found, text] : {std::pair(0.0, "0"), std::pair(-1.0, "-1"), std::pair(kInfinity, "inf"),
                                    std::pair(1e-60, "1e-60"), std::pair(1e60, "1e+60")}) {  // the last two in F32
    EXPECT_EQ(e4m3_error(found, 1),
              fmt::format("cpu.attention: parameter 'key_scale' is {}, expected a finite number above 0", text));
    EXPECT_EQ(e4m3_error(1, found),
              fmt::format("cpu.attention: parameter 'value_scale' is {}, expected a finite number above 0", text));
  }
  EXPECT_EQ(e4m3_error(std::nan(""), 1), "cpu.attention: parameter 'key_scale' is NaN");
  EXPECT_EQ(e4m3_error(1e30, 1, 1e30), "cpu.attention: scale 1e+30 times key_scale 1e+30 exceeds F32");
  EXPECT_EQ(error("cpu.attention", [](KernelFixture& f) { f.Float("key_scale", 1); }),
            "cpu.attention: has no parameter 'key_scale'");
  for (int64_t page_tokens : {0, 8, 24}) {
    EXPECT_EQ(error("cpu.attention", [&](KernelFixture& f) { f.arguments.page_tokens = page_tokens; }),
              fmt::format("cpu.attention: pages of {} tokens, expected a multiple of 16", page_tokens));
  }
  EXPECT_EQ(error("cpu.causal_conv1d",
                  [](KernelFixture& f) {
                    f.Weight("weight", {1, 8}, Random(8, 1), DType::kF32, Layout::kRowMajor);
                    f.State("conv", StateKind::kConv, {0, 8});
                  }),
            "cpu.causal_conv1d: weight has a window of 1, expected at least 2");
  EXPECT_EQ(error("cpu.causal_conv1d", [](KernelFixture& f) { f.Text("activation", "relu2"); }),
            "cpu.causal_conv1d: activation is 'relu2', expected none or silu");
  EXPECT_EQ(error("cpu.embedding", [](KernelFixture& f) { f.arguments.vocab_size = 4; }),
            "cpu.embedding: weight has 3 rows for a vocabulary of 4");
  EXPECT_EQ(error("cpu.gated_rms_norm", [](KernelFixture& f) { f.Int("n_groups", 3); }),
            "cpu.gated_rms_norm: 8 columns are not a multiple of 3 groups");
  EXPECT_EQ(error("cpu.linear", [](KernelFixture& f) { f.Text("activation", "gelu"); }),
            "cpu.linear: activation is 'gelu', expected none or relu2");
  EXPECT_EQ(error("cpu.moe_experts",
                  [](KernelFixture& f) { f.Weight("up", {2, 3, 4}, Random(24, 1), DType::kBF16, Layout::kPanel); }),
            "cpu.moe_experts: up is bf16, down is f32");
  EXPECT_EQ(error("cpu.moe_route", [](KernelFixture& f) { f.Int("n_group", 3); }),
            "cpu.moe_route: 8 experts are not a multiple of 3 groups, or those are more than 1024");
  EXPECT_EQ(error("cpu.moe_route", [](KernelFixture& f) { f.Int("topk_group", 3); }),
            "cpu.moe_route: 3 groups are picked of 2");
  EXPECT_EQ(error("cpu.moe_route",
                  [](KernelFixture& f) {
                    f.Int("num_experts_per_tok", 5).Output("indices", 5, DType::kI32).Output("weights", 5);
                  }),
            "cpu.moe_route: 5 experts are picked of 4 in 1 groups");
  EXPECT_EQ(error("cpu.rotary_embedding", [](KernelFixture& f) { f.Int("head_dim", 5); }),
            "cpu.rotary_embedding: 16 columns are not a multiple of head_dim 5");
  for (int64_t rotary_dim : {3, 10}) {
    EXPECT_EQ(error("cpu.rotary_embedding", [&](KernelFixture& f) { f.Int("rotary_dim", rotary_dim); }),
              fmt::format("cpu.rotary_embedding: rotary_dim {} is not even or exceeds head_dim 8", rotary_dim));
  }
  EXPECT_EQ(error("cpu.rotary_embedding", [](KernelFixture& f) { f.Float("theta", 0); }),
            "cpu.rotary_embedding: theta is 0, expected a positive number");
  EXPECT_EQ(error("cpu.rotary_embedding", [](KernelFixture& f) { f.Float("position_scale", kInfinity); }),
            "cpu.rotary_embedding: position_scale is inf, expected a positive number");
  EXPECT_EQ(error("cpu.ssm_scan", [](KernelFixture& f) { f.Int("n_groups", 3); }),
            "cpu.ssm_scan: 4 heads are not a multiple of 3 groups");
  EXPECT_EQ(error("cpu.ssm_scan", [](KernelFixture& f) { f.Float("dt_min", 2).Float("dt_max", 1); }),
            "cpu.ssm_scan: dt_min 2 and dt_max 1 are not a range");
  EXPECT_EQ(error("cpu.ssm_scan", [](KernelFixture& f) { f.Float("dt_min", -1); }),
            "cpu.ssm_scan: dt_min -1 and dt_max 1e+30 are not a range");
}

// The same of the kernels of 8-bit floats.
TEST(Relations, OfF8AreChecked) {
  const auto error = [](std::string_view kernel, auto change) {
    KernelFixture fixture = Make(kernel);
    change(fixture);
    return fixture.PrepareError();
  };
  for (const std::string kernel : {"cpu.quantize", "cpu.rms_norm_quantize", "cpu.add_rms_norm_quantize",
                                   "cpu.layer_norm_quantize", "cpu.add_layer_norm_quantize"}) {
    const bool has_step = kernel == "cpu.quantize";
    for (const std::string scaling : {"row", has_step ? "Step" : "step"}) {
      EXPECT_EQ(
          error(kernel, [&](KernelFixture& f) { f.Text("scaling", scaling).Float("scale", 0); }),
          fmt::format("{}: scaling is '{}', expected token{} or static", kernel, scaling, has_step ? ", step" : ""));
    }
    for (const auto& [scale, text] : {std::pair(0.0, "0"), std::pair(-1.0, "-1"), std::pair(1e300, "inf"),
                                      std::pair(1e-60, "0")}) {  // the last two in F32
      EXPECT_EQ(error(kernel, [&](KernelFixture& f) { f.Float("scale", scale); }),
                fmt::format("{}: scale is {}, expected a positive number", kernel, text));
    }
    EXPECT_EQ(error(kernel, [](KernelFixture& f) { f.Text("scaling", "token"); }),
              kernel + ": scale is 0.5 with scaling 'token', expected 0");
    EXPECT_EQ(error(kernel, [](KernelFixture& f) { f.Output("output", 8); }),
              kernel + ": output 'output' is f32, expected f8e4m3 or i8");
    EXPECT_EQ(error(kernel, [](KernelFixture& f) { f.Output("scale", 8); }),
              kernel + ": output 'scale' has 8 columns, expected 1");
  }
  EXPECT_EQ(error("cpu.quantize", [](KernelFixture& f) { f.Text("activation", "silu"); }),
            "cpu.quantize: activation is 'silu', expected none or relu2");
  EXPECT_EQ(error("cpu.scaled_matmul", [](KernelFixture& f) { f.Text("activation", "silu"); }),
            "cpu.scaled_matmul: activation is 'silu', expected none or relu2");
  EXPECT_EQ(error("cpu.scaled_matmul", [](KernelFixture& f) { f.Vector("weight_scale", Random(4, 1)); }),
            "cpu.scaled_matmul: weight 'weight_scale' is [4], expected [1] or [5]");
  EXPECT_EQ(error("cpu.scaled_matmul", [](KernelFixture& f) { f.Input("input", 8); }),
            "cpu.scaled_matmul: input 'input' is f32, expected f8e4m3 or i8");
  EXPECT_EQ(error("cpu.scaled_matmul", [](KernelFixture& f) { f.Input("input_scale", 1, DType::kF32, Space::kRow); }),
            "cpu.scaled_matmul: input and input_scale count different things");
  EXPECT_EQ(error("cpu.scaled_matmul", [](KernelFixture& f) { f.arguments.weights["weight"].dtype = DType::kBF16; }),
            "cpu.scaled_matmul: weight 'weight' is bf16, expected f8e4m3");
  EXPECT_EQ(error("cpu.scaled_moe_experts", [](KernelFixture& f) { f.Text("activations", "f32"); }),
            "cpu.scaled_moe_experts: activations is 'f32' with matrices of f8e4m3, expected e4m3 or bf16");
  EXPECT_EQ(error("cpu.scaled_matmul", [](KernelFixture& f) { f.arguments.weights["weight"].dtype = DType::kI8; }),
            "cpu.scaled_matmul: weight 'weight' is i8, expected f8e4m3");
  EXPECT_EQ(error("cpu.scaled_matmul", [](KernelFixture& f) { f.arguments.inputs["input"].dtype = DType::kI8; }),
            "cpu.scaled_matmul: weight 'weight' is f8e4m3, expected i8");
  // Scales of groups: of I8 only, a whole number of 32 inputs each.
  const auto groups = [](KernelFixture& f, DType dtype, int64_t k, int64_t num_groups) {
    f.Input("input", k, dtype).Weight("weight", {5, k}, Random(5 * k, 1), dtype, Layout::kPanel);
    f.Weight("weight_scale", {5, num_groups}, Random(5 * num_groups, 1), DType::kF32, Layout::kPanel);
  };
  EXPECT_EQ(error("cpu.scaled_matmul", [&](KernelFixture& f) { groups(f, DType::kF8E4M3, 64, 2); }),
            "cpu.scaled_matmul: weight 'weight_scale' is [5, 2], expected [any]");
  for (const auto& [k, num_groups] : {std::pair(96, 2), std::pair(64, 3), std::pair(32, 64)}) {
    EXPECT_EQ(error("cpu.scaled_matmul", [&](KernelFixture& f) { groups(f, DType::kI8, k, num_groups); }),
              fmt::format("cpu.scaled_matmul: weight 'weight_scale' has {} groups of {} inputs, expected groups of a "
                          "multiple of 32",
                          num_groups, k));
  }
  EXPECT_EQ(error("cpu.scaled_matmul",
                  [&](KernelFixture& f) {
                    groups(f, DType::kI8, 64, 2);
                    f.arguments.weights["weight_scale"].shape = {4, 2};
                  }),
            "cpu.scaled_matmul: weight 'weight_scale' is [4, 2], expected [5, any]");
  for (const std::string activations : {"e4m3", "bf16"}) {
    EXPECT_EQ(error("cpu.scaled_moe_experts",
                    [&](KernelFixture& f) {
                      f.Text("activations", activations);
                      f.arguments.weights["up"].dtype = f.arguments.weights["down"].dtype = DType::kI8;
                    }),
              fmt::format("cpu.scaled_moe_experts: activations is '{}' with matrices of i8, expected i8", activations));
  }
  EXPECT_EQ(error("cpu.scaled_moe_experts",
                  [](KernelFixture& f) {
                    f.arguments.weights["up"].dtype = f.arguments.weights["down"].dtype = DType::kI8;
                    f.arguments.weights["up"].shape.back() = kMaxI8Depth + 1;
                    f.arguments.weights["down"].shape[1] = kMaxI8Depth + 1;
                    f.Input("input", kMaxI8Depth + 1).Output("output", kMaxI8Depth + 1).Text("activations", "i8");
                  }),
            "cpu.scaled_moe_experts: a matrix of i8 has 132105 inputs, expected at most 132104: sums have 32 bits");
  EXPECT_EQ(error("cpu.scaled_moe_experts", [](KernelFixture& f) { f.Text("activations", "bf16"); }),
            "cpu.scaled_moe_experts: has no weight 'down_input_scale'");
  EXPECT_EQ(error("cpu.scaled_moe_experts",
                  [](KernelFixture& f) { f.Weight("up_scale", {2, 2}, Random(4, 1), DType::kF32, Layout::kRowMajor); }),
            "cpu.scaled_moe_experts: weight 'up_scale' is [2, 2], expected [2, 1] or [2, 3]");
}

TEST(Registry, NamesEachKernelOnce) {
  const std::vector<std::string_view> names = KernelNames();
  EXPECT_EQ(names.size(), Makers().size());
  EXPECT_TRUE(std::is_sorted(names.begin(), names.end()));
  EXPECT_EQ(KernelFixture("cpu.nosuch").PrepareError(), "this build has no kernel 'cpu.nosuch'");
}

}  // namespace
}  // namespace nemotron::runtime::cpu
