#include "tests/runtime/plan/tiny_plan.h"

#include <xxhash.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <utility>

#include "runtime/plan/format.h"
#include "runtime/plan/layout.h"

namespace nemotron::runtime::testing {
namespace {

constexpr int64_t kHidden = 16, kHeads = 2, kHeadDim = 8, kKvHeads = 1, kStateSize = 4, kWindow = 4;
const std::vector<int64_t> kRecentShape = {kScanChunk, kHidden + kStateSize + kHeads};

class TinyPlanBuilder {
 public:
  explicit TinyPlanBuilder(const TinyPlanOptions& options) : options_(options), random_(options.seed) {
    draft_.plan.model = std::make_unique<schema::ModelT>();
    draft_.plan.program = std::make_unique<schema::ProgramT>();
  }

  PlanDraft Build() {
    schema::PlanT& plan = draft_.plan;
    plan.version = kPlanVersion;
    plan.target = "cpu";
    BuildModel(plan.model.get());
    BuildProgram();
    plan.kv_bytes_per_token = kv_bytes_;
    plan.slot_bytes = slot_bytes_;
    plan.generation = std::make_unique<schema::GenerationT>();
    if (!options_.tokenizer_json.empty()) {
      plan.tokenizer = std::make_unique<schema::TokenizerT>();
      plan.tokenizer->kind = "tokenizer.json";
      plan.tokenizer->data = AddSegment(std::as_bytes(std::span(options_.tokenizer_json)));
    }
    return std::move(draft_);
  }

 private:
  void BuildModel(schema::ModelT* model) {
    model->architecture = "TinyForTests";
    model->name = "tiny";
    model->vocab_size = static_cast<uint64_t>(options_.vocab_size);
    model->hidden_size = kHidden;
    model->num_layers = 2;
    model->layers_block_type = "M*";
    model->max_position_embeddings = static_cast<uint64_t>(options_.max_position_embeddings);
    model->bos_token_id = 1;
    model->eos_token_ids = {2};
    model->config_json = "{}";
  }

  void BuildProgram() {
    uint32_t h = Buffer("hidden", kHidden);
    Dispatch("cpu.embedding", -1,
             {Output("output", h), Weight("weight", Matrix("embedding", options_.vocab_size, false))});
    if (options_.with_recurrence) {
      h = BuildRecurrence(h);
    }
    uint32_t delta = h;
    if (options_.with_attention) {
      delta = BuildAttention(h);
    }
    if (options_.with_all_kernels) {
      delta = BuildOtherKernels(delta);
    }
    const uint32_t sum = Buffer("sum", kHidden), normed = Buffer("normed", kHidden);
    Dispatch("cpu.add_rms_norm", -1,
             {Input("residual", h), Input("delta", delta), Output("sum", sum), Output("output", normed),
              Weight("weight", Vector("norm", {kHidden}, 0.8f, 1.2f))},
             {Float("eps", 1e-5)});
    const uint32_t rows = Buffer("rows", kHidden, schema::Space::Row);
    Dispatch("cpu.select_rows", -1, {Input("input", normed), Output("output", rows)});
    const uint32_t logits = Buffer("logits", options_.vocab_size, schema::Space::Row);
    Linear("head", -1, rows, logits, options_.vocab_size);
    draft_.plan.program->logits = logits;
  }

  uint32_t BuildRecurrence(uint32_t h) {
    const uint32_t window = Buffer("window", kHidden);
    Dispatch("cpu.causal_conv1d", 0,
             {Input("input", h), Output("output", window), Weight("weight", Vector("conv", {kWindow, kHidden}, -1, 1)),
              Weight("bias", Vector("conv_bias", {kHidden}, -0.5f, 0.5f)),
              State("conv", AddState("layers.0.conv", schema::StateKind::Conv, {kWindow - 1, kHidden}))},
             {Text("activation", "silu")});
    // x [16], b [4], c [4], dt [2] of one matrix
    const uint32_t projected = Buffer("projected", kHidden + 2 * kStateSize + kHeads);
    Linear("in_proj", 0, window, projected, kHidden + 2 * kStateSize + kHeads);
    const uint32_t scanned = Buffer("scanned", kHidden);
    Dispatch("cpu.ssm_scan", 0,
             {Input("x", projected, 0, kHidden), Input("b", projected, kHidden, kStateSize),
              Input("c", projected, kHidden + kStateSize, kStateSize),
              Input("dt", projected, kHidden + 2 * kStateSize, kHeads), Output("output", scanned),
              Weight("a_log", Vector("a_log", {kHeads}, -1, 1)), Weight("dt_bias", Vector("dt_bias", {kHeads}, -1, 1)),
              State("ssm", AddState("layers.0.ssm", schema::StateKind::Ssm, {kHeads, kHeadDim, kStateSize})),
              State("recent", AddState("layers.0.ssm.recent", schema::StateKind::Recent, kRecentShape))},
             {Int("num_heads", kHeads), Int("head_dim", kHeadDim), Int("n_groups", 1), Int("state_size", kStateSize),
              Float("dt_min", 0), Float("dt_max", HUGE_VAL)});
    const uint32_t sum = Buffer("hidden_1", kHidden);
    Dispatch("cpu.add", 0, {Input("lhs", h), Input("rhs", scanned), Output("output", sum)});
    // "projected" and "scanned" are done with: what follows takes their place.
    reuse_offset_ = draft_.plan.program->buffers[projected]->offset_bytes;
    return sum;
  }

  uint32_t BuildAttention(uint32_t h) {
    const int64_t kv = kKvHeads * kHeadDim;
    const uint32_t qkv = Buffer("qkv", kHidden + 2 * kv);
    Linear("qkv", 1, h, qkv, kHidden + 2 * kv);
    const uint32_t attended = Buffer("attended", kHidden);
    std::vector<Movable<ParameterPtr>> parameters = {Int("num_heads", kHeads), Int("num_kv_heads", kKvHeads),
                                                     Int("head_dim", kHeadDim), Float("scale", 0.35355339059327373)};
    if (options_.cache_dtype == schema::DType::F8E4M3) {
      parameters.push_back(Float("key_scale", 0.01));
      parameters.push_back(Float("value_scale", 0.02));
    }
    Dispatch("cpu.attention", 1,
             {Input("query", qkv, 0, kHidden), Input("key", qkv, kHidden, kv), Input("value", qkv, kHidden + kv, kv),
              Output("output", attended),
              State("cache", AddState("layers.1.kv", schema::StateKind::KvCache, {2, kKvHeads, kHeadDim}))},
             std::move(parameters));
    return attended;
  }

  uint32_t BuildOtherKernels(uint32_t x) {
    const auto gain = [&](const std::string& name) { return Weight("weight", Vector(name, {kHidden}, 0.8f, 1.2f)); };
    const auto next = [&](const std::string& name) { return x = Buffer(name, kHidden); };
    const auto unary = [&](const std::string& kernel, std::vector<Movable<ParameterPtr>> parameters = {}) {
      ArgumentPtr input = Input("input", x);
      Dispatch(kernel, -1, {std::move(input), Output("output", next(kernel))}, std::move(parameters));
    };
    unary("cpu.silu");
    unary("cpu.rotary_embedding", {Int("head_dim", kHeadDim), Int("rotary_dim", 4), Float("theta", 10000),
                                   Float("position_scale", 1), Bool("bf16_frequencies", false)});
    ArgumentPtr input = Input("input", x);
    Dispatch("cpu.rms_norm", -1, {std::move(input), Output("output", next("rms")), gain("rms_gain")},
             {Float("eps", 1e-5)});
    const uint32_t residual = x;
    unary("cpu.relu2");
    input = Input("input", x);
    Dispatch("cpu.layer_norm", -1,
             {std::move(input), Output("output", next("layer")), gain("layer_gain"),
              Weight("bias", Vector("layer_bias", {kHidden}, -1, 1))},
             {Float("eps", 1e-5), Bool("unit_offset", true)});
    const uint32_t layer = x;
    const uint32_t layer_sum = Buffer("layer_sum", kHidden);
    Dispatch("cpu.add_layer_norm", -1,
             {Input("residual", residual), Input("delta", layer), Output("sum", layer_sum),
              Output("output", next("added")), gain("added_gain")},
             {Float("eps", 1e-5), Bool("unit_offset", false)});
    input = Input("input", x);
    Dispatch("cpu.gated_rms_norm", -1,
             {std::move(input), Input("gate", layer_sum), Output("output", next("gated")), gain("gated_gain")},
             {Int("n_groups", 2), Float("eps", 1e-5)});
    input = Input("y", x);
    Dispatch("cpu.ssm_skip", -1,
             {std::move(input), Input("x", layer), Output("output", next("skipped")),
              Weight("d", Vector("skip_d", {kHeads}, -1, 1))},
             {Int("num_heads", kHeads), Int("head_dim", kHeadDim)});
    const uint32_t projected = Buffer("projected_2", kHidden + 2 * kStateSize + kHeads);
    Linear("in_proj_2", -1, x, projected, kHidden + 2 * kStateSize + kHeads);
    Dispatch(
        "cpu.ssm_scan_gated_norm", -1,
        {Input("x", projected, 0, kHidden), Input("b", projected, kHidden, kStateSize),
         Input("c", projected, kHidden + kStateSize, kStateSize),
         Input("dt", projected, kHidden + 2 * kStateSize, kHeads), Input("gate", layer),
         Output("output", next("fused")), Weight("a_log", Vector("a_log_2", {kHeads}, -1, 1)),
         Weight("dt_bias", Vector("dt_bias_2", {kHeads}, -1, 1)), Weight("d", Vector("d_2", {kHeads}, -1, 1)),
         gain("fused_gain"), State("ssm", AddState("ssm_2", schema::StateKind::Ssm, {kHeads, kHeadDim, kStateSize})),
         State("recent", AddState("ssm_2.recent", schema::StateKind::Recent, kRecentShape))},
        {Int("num_heads", kHeads), Int("head_dim", kHeadDim), Int("n_groups", 1), Int("state_size", kStateSize),
         Float("dt_min", 0), Float("dt_max", HUGE_VAL), Float("eps", 1e-5)});
    return BuildExperts(x);
  }

  uint32_t BuildExperts(uint32_t x) {
    constexpr int64_t kExperts = 4, kPicks = 2;
    const uint32_t indices = Buffer("indices", kPicks), weights = Buffer("expert_weights", kPicks);
    draft_.plan.program->buffers[indices]->dtype = schema::DType::I32;
    Dispatch("cpu.moe_route", -1,
             {Input("input", x), Output("indices", indices), Output("weights", weights),
              Weight("weight", Matrix("router", kExperts, true)),
              Weight("correction_bias", Vector("correction_bias", {kExperts}, -0.1f, 0.1f))},
             {Int("num_experts_per_tok", kPicks), Int("n_group", 1), Int("topk_group", 1), Bool("norm_topk_prob", true),
              Float("routed_scaling_factor", 1)});
    const uint32_t mixed = Buffer("mixed", kHidden);
    // A stack of [16, 16] in panels is as one matrix of 64 rows.
    const auto stack = [&](const std::string& name) {
      const uint32_t weight = Matrix(name, kExperts * kHidden, true);
      draft_.plan.weights[weight]->shape = {kExperts, kHidden, kHidden};
      return weight;
    };
    Dispatch("cpu.moe_experts", -1,
             {Input("input", x), Input("indices", indices), Input("weights", weights), Output("output", mixed),
              Weight("up", stack("up")), Weight("down", stack("down"))},
             {Bool("split_input", false)});
    return mixed;
  }

  uint32_t Buffer(const std::string& name, int64_t columns, schema::Space space = schema::Space::Token) {
    schema::ProgramT& program = *draft_.plan.program;
    auto buffer = std::make_unique<schema::BufferT>();
    buffer->name = name;
    buffer->dtype = schema::DType::F32;
    buffer->space = space;
    buffer->columns = static_cast<uint64_t>(columns);
    buffer->row_bytes = (buffer->columns * 4 + 63) / 64 * 64;
    const bool per_token = space == schema::Space::Token;
    uint64_t& arena = per_token ? program.token_arena_bytes : program.row_arena_bytes;
    (per_token ? program.token_bytes_without_reuse : program.row_bytes_without_reuse) += buffer->row_bytes;
    buffer->offset_bytes = arena;
    if (per_token && reuse_offset_ != 0) {
      buffer->offset_bytes = std::exchange(reuse_offset_, 0);
    }
    arena = std::max(arena, buffer->offset_bytes + buffer->row_bytes);
    program.buffers.push_back(std::move(buffer));
    return static_cast<uint32_t>(program.buffers.size() - 1);
  }

  std::unique_ptr<schema::Segment> AddSegment(std::span<const std::byte> bytes) {
    const uint64_t offset = draft_.metadata_offset();
    draft_.segments.insert(draft_.segments.end(), bytes.begin(), bytes.end());
    draft_.segments.resize((draft_.segments.size() + 4095) / 4096 * 4096);
    return std::make_unique<schema::Segment>(offset, bytes.size(), XXH3_64bits(bytes.data(), bytes.size()));
  }

  uint32_t AddWeight(const std::string& name, schema::Layout layout, std::vector<int64_t> shape,
                     const std::vector<float>& values) {
    auto weight = std::make_unique<schema::WeightT>();
    weight->name = name;
    weight->dtype = schema::DType::F32;
    weight->layout = layout;
    weight->shape = std::move(shape);
    weight->segment = AddSegment(std::as_bytes(std::span(values)));
    draft_.plan.weights.push_back(std::move(weight));
    return static_cast<uint32_t>(draft_.plan.weights.size() - 1);
  }

  float Random(float low, float high) { return std::uniform_real_distribution<float>(low, high)(random_); }

  uint32_t Vector(const std::string& name, const std::vector<int64_t>& shape, float low, float high) {
    int64_t size = 1;
    for (const int64_t dimension : shape) {
      size *= dimension;
    }
    std::vector<float> values(static_cast<size_t>(size));
    for (float& value : values) {
      value = Random(low, high);
    }
    return AddWeight(name, schema::Layout::RowMajor, shape, values);
  }

  /// [rows, kHidden], uniform with unit gain.
  uint32_t Matrix(const std::string& name, int64_t rows, bool panel) {
    std::vector<float> values(
        static_cast<size_t>(panel ? PanelMatrixBytes(DType::kF32, rows, kHidden) / 4 : rows * kHidden));
    for (int64_t row = 0; row < rows; ++row) {
      for (int64_t column = 0; column < kHidden; ++column) {
        const int64_t index = panel ? PanelElementIndex(DType::kF32, kHidden, row, column) : row * kHidden + column;
        values[static_cast<size_t>(index)] = Random(-0.5f, 0.5f);
      }
    }
    return AddWeight(name, panel ? schema::Layout::Panel : schema::Layout::RowMajor, {rows, kHidden}, values);
  }

  void Linear(const std::string& name, int layer, uint32_t input, uint32_t output, int64_t rows) {
    Dispatch("cpu.linear", layer,
             {Input("input", input), Output("output", output), Weight("weight", Matrix(name, rows, true))},
             {Text("activation", "none"), Bool("split_input", false)});
  }

  uint32_t AddState(const std::string& name, schema::StateKind kind, std::vector<int64_t> shape) {
    const bool in_pages = kind == schema::StateKind::KvCache;
    const schema::DType dtype = in_pages                         ? options_.cache_dtype
                                : kind == schema::StateKind::Ssm ? options_.ssm_dtype
                                                                 : schema::DType::F32;
    auto bytes = static_cast<uint64_t>(SizeOf(static_cast<DType>(dtype)));
    for (const int64_t dimension : shape) {
      bytes *= static_cast<uint64_t>(dimension);
    }
    if (in_pages) {
      bytes = static_cast<uint64_t>(KvCacheElements(static_cast<int64_t>(bytes), shape[2]));
    }
    auto state = std::make_unique<schema::StateT>();
    state->name = name;
    state->kind = kind;
    state->dtype = dtype;
    state->shape = std::move(shape);
    uint64_t& total = in_pages ? kv_bytes_ : slot_bytes_;
    const uint64_t alignment = in_pages ? 4 : 64;
    state->offset_bytes = total;
    total += (bytes + alignment - 1) / alignment * alignment;
    draft_.plan.states.push_back(std::move(state));
    return static_cast<uint32_t>(draft_.plan.states.size() - 1);
  }

  using ArgumentPtr = std::unique_ptr<schema::ArgumentT>;
  using ParameterPtr = std::unique_ptr<schema::ParameterT>;

  /// Lets braces build a list of unique pointers.
  template <typename T>
  struct Movable {
    Movable(T value) : value(std::make_shared<T>(std::move(value))) {}  // NOLINT
    std::shared_ptr<T> value;
  };

  static ArgumentPtr Argument(const std::string& name, schema::ArgumentKind kind, uint32_t index) {
    auto argument = std::make_unique<schema::ArgumentT>();
    argument->name = name;
    argument->kind = kind;
    argument->index = index;
    return argument;
  }
  ArgumentPtr View(const std::string& name, schema::ArgumentKind kind, uint32_t index, int64_t column,
                   int64_t columns) {
    ArgumentPtr argument = Argument(name, kind, index);
    argument->column = static_cast<uint64_t>(column);
    argument->columns = columns != 0 ? static_cast<uint64_t>(columns) : draft_.plan.program->buffers[index]->columns;
    return argument;
  }
  ArgumentPtr Input(const std::string& name, uint32_t buffer, int64_t column = 0, int64_t columns = 0) {
    return View(name, schema::ArgumentKind::Input, buffer, column, columns);
  }
  ArgumentPtr Output(const std::string& name, uint32_t buffer) {
    return View(name, schema::ArgumentKind::Output, buffer, 0, 0);
  }
  static ArgumentPtr Weight(const std::string& name, uint32_t index) {
    return Argument(name, schema::ArgumentKind::Weight, index);
  }
  static ArgumentPtr State(const std::string& name, uint32_t index) {
    return Argument(name, schema::ArgumentKind::State, index);
  }
  static ParameterPtr Int(const std::string& name, int64_t value) {
    auto parameter = std::make_unique<schema::ParameterT>();
    parameter->name = name;
    parameter->type = schema::ParameterType::Int;
    parameter->int_value = value;
    return parameter;
  }
  static ParameterPtr Bool(const std::string& name, bool value) {
    ParameterPtr parameter = Int(name, value ? 1 : 0);
    parameter->type = schema::ParameterType::Bool;
    return parameter;
  }
  static ParameterPtr Float(const std::string& name, double value) {
    auto parameter = std::make_unique<schema::ParameterT>();
    parameter->name = name;
    parameter->type = schema::ParameterType::Float;
    parameter->float_value = value;
    return parameter;
  }
  static ParameterPtr Text(const std::string& name, const std::string& value) {
    auto parameter = std::make_unique<schema::ParameterT>();
    parameter->name = name;
    parameter->type = schema::ParameterType::String;
    parameter->string_value = value;
    return parameter;
  }

  void Dispatch(const std::string& kernel, int layer, std::vector<Movable<ArgumentPtr>> arguments,
                std::vector<Movable<ParameterPtr>> parameters = {}) {
    schema::ProgramT& program = *draft_.plan.program;
    uint32_t index = 0;
    while (index < program.kernels.size() && program.kernels[index]->name != kernel) {
      ++index;
    }
    if (index == program.kernels.size()) {
      program.kernels.push_back(std::make_unique<schema::KernelT>());
      program.kernels.back()->name = kernel;
    }
    auto dispatch = std::make_unique<schema::DispatchT>();
    dispatch->kernel = index;
    dispatch->layer = layer;
    for (Movable<ArgumentPtr>& argument : arguments) {
      dispatch->arguments.push_back(std::move(*argument.value));
    }
    for (Movable<ParameterPtr>& parameter : parameters) {
      dispatch->parameters.push_back(std::move(*parameter.value));
    }
    program.dispatches.push_back(std::move(dispatch));
  }

  TinyPlanOptions options_;
  std::mt19937_64 random_;
  PlanDraft draft_;
  uint64_t slot_bytes_ = 0, kv_bytes_ = 0;
  uint64_t reuse_offset_ = 0;
};

}  // namespace

PlanDraft MakeTinyPlan(const TinyPlanOptions& options) { return TinyPlanBuilder(options).Build(); }

PlanDraft MakeCompiledPlan() {
  PlanDraft draft = MakeTinyPlan();
  draft.plan.target = "cuda";
  const schema::Segment& bytes = *draft.plan.weights[0]->segment;
  for (auto& kernel : draft.plan.program->kernels) {
    auto launch = std::make_unique<schema::LaunchT>();
    launch->function = "f";
    launch->grid_x = "ceil(T/64)";
    launch->grid_y = launch->grid_z = "1";
    launch->block_threads = 128;
    launch->arguments.push_back(std::make_unique<schema::LaunchArgumentT>());
    launch->arguments.back()->source = schema::LaunchSource::Step;
    kernel->launches.push_back(std::move(launch));
    auto image = std::make_unique<schema::ImageT>();
    image->architecture = "sm_90a";
    image->kind = schema::ImageKind::Ptx;
    image->data = std::make_unique<schema::Segment>(bytes);
    kernel->images.push_back(std::move(image));
  }
  return draft;
}

PlanDraft MakePlanForBoth() {
  PlanDraft cpu = MakeTinyPlan(), draft = MakeCompiledPlan();
  draft.plan.on_cpu = std::make_unique<schema::CpuProgramT>();
  draft.plan.on_cpu->program = std::move(cpu.plan.program);
  for (auto& weight : draft.plan.weights) {
    draft.plan.on_cpu->layouts.push_back(weight->layout);
    if (weight->layout != schema::Layout::Panel) {
      continue;
    }
    const int64_t n = weight->shape[0], k = weight->shape[1];
    std::vector<float> rows(static_cast<size_t>(n * k));
    std::byte* const bytes = draft.segments.data() + weight->segment->offset_bytes() - 4096;
    for (int64_t i = 0; i < n * k; ++i) {
      const int64_t at = PanelElementIndex(DType::kF32, k, i / k, i % k);
      std::memcpy(&rows[static_cast<size_t>(i)], bytes + at * 4, 4);
    }
    std::memcpy(bytes, rows.data(), rows.size() * 4);
    weight->layout = schema::Layout::RowMajor;
    *weight->segment =
        schema::Segment(weight->segment->offset_bytes(), rows.size() * 4, XXH3_64bits(rows.data(), rows.size() * 4));
  }
  return draft;
}

AlignedBytes::AlignedBytes(std::span<const std::byte> bytes) : size_(bytes.size()) {
  // At its exact end, so that a sanitizer sees reads behind it.
  void* data = nullptr;
  if (posix_memalign(&data, 4096, std::max<size_t>(bytes.size(), 1)) != 0) {
    std::abort();
  }
  data_.reset(static_cast<std::byte*>(data));
  std::copy(bytes.begin(), bytes.end(), data_.get());
}

void AlignedBytes::Free::operator()(std::byte* data) const { std::free(data); }

std::vector<std::byte> PackPlan(const PlanDraft& draft) {
  flatbuffers::FlatBufferBuilder builder;
  schema::FinishPlanBuffer(builder, schema::Plan::Pack(builder, &draft.plan));
  PlanPreamble preamble = {};
  std::memcpy(preamble.magic, kPlanMagic, sizeof(kPlanMagic));
  preamble.version = kPlanPreambleVersion;
  preamble.metadata_offset = draft.metadata_offset();
  preamble.metadata_size = builder.GetSize();
  preamble.file_size_bytes = preamble.metadata_offset + builder.GetSize();
  preamble.metadata_checksum = XXH3_64bits(builder.GetBufferPointer(), builder.GetSize());
  preamble.preamble_checksum = XXH3_64bits(&preamble, offsetof(PlanPreamble, preamble_checksum));
  std::vector<std::byte> file(preamble.file_size_bytes);
  std::memcpy(file.data(), &preamble, sizeof(preamble));
  std::copy(draft.segments.begin(), draft.segments.end(), file.begin() + 4096);
  std::memcpy(file.data() + preamble.metadata_offset, builder.GetBufferPointer(), builder.GetSize());
  return file;
}

std::shared_ptr<const Plan> LoadDraft(const PlanDraft& draft) {
  auto bytes = std::make_shared<AlignedBytes>(PackPlan(draft));
  StatusOr<std::shared_ptr<const Plan>> plan = Plan::FromBytes(std::as_const(*bytes).span(), {}, bytes);
  if (!plan.ok()) {
    std::fprintf(stderr, "the tiny plan was rejected: %s\n", plan.status().message().c_str());
    std::abort();
  }
  return std::move(plan).value();
}

}  // namespace nemotron::runtime::testing
