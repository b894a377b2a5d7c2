#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>

#include "runtime/plan/plan.h"
#include "tests/runtime/plan/tiny_plan.h"

namespace nemotron::runtime {
namespace {

using schema::PlanT;
using schema::Segment;
using ::testing::HasSubstr;

constexpr uint64_t kHuge = std::numeric_limits<uint64_t>::max() & ~uint64_t{4095};

/// One lie in otherwise sound metadata, and what the loader says to it.
struct Mutation {
  const char* name;
  std::function<void(PlanT&)> apply;
  const char* message;
  StatusCode code = StatusCode::kDataLoss;
};

void PrintTo(const Mutation& mutation, std::ostream* out) { *out << mutation.name; }

void SetSegment(PlanT& plan, size_t weight, uint64_t offset, uint64_t size) {
  *plan.weights[weight]->segment = Segment(offset, size, plan.weights[weight]->segment->checksum());
}

/// A place for samples that no dispatch writes.
void AddSamples(PlanT& plan) {
  auto buffer = std::make_unique<schema::BufferT>();
  buffer->name = "samples";
  buffer->dtype = schema::DType::I32;
  buffer->space = schema::Space::Row;
  buffer->columns = 16;
  buffer->row_bytes = 64;
  buffer->offset_bytes = plan.program->row_arena_bytes;
  plan.program->row_arena_bytes += 64;
  plan.program->row_bytes_without_reuse += 64;
  plan.program->samples = static_cast<int32_t>(plan.program->buffers.size());
  plan.program->buffers.push_back(std::move(buffer));
}

schema::DispatchT& Find(PlanT& plan, const std::string& kernel) {
  for (auto& dispatch : plan.program->dispatches) {
    if (plan.program->kernels[dispatch->kernel]->name == kernel) {
      return *dispatch;
    }
  }
  throw std::runtime_error("no dispatch of " + kernel);
}

const Mutation kMutations[] = {
    {"version_0", [](PlanT& p) { p.version = 0; }, "version is 0"},
    {"version_older", [](PlanT& p) { p.version = 2; }, "version is 2", StatusCode::kUnimplemented},
    {"version_newer", [](PlanT& p) { p.version = 99; }, "version is 99", StatusCode::kUnimplemented},
    {"target_unknown", [](PlanT& p) { p.target = "abacus"; }, "target is 'abacus'", StatusCode::kUnimplemented},
    {"target_empty", [](PlanT& p) { p.target = ""; }, "target has 0 characters"},

    {"vocab_size_0", [](PlanT& p) { p.model->vocab_size = 0; }, "model.vocab_size is 0"},
    {"vocab_size_huge", [](PlanT& p) { p.model->vocab_size = kHuge; }, "model.vocab_size is"},
    {"vocab_size_not_of_logits", [](PlanT& p) { p.model->vocab_size = 41; }, "expected f32 [R, 41]"},
    {"hidden_size_huge", [](PlanT& p) { p.model->hidden_size = kHuge; }, "model.hidden_size is"},
    {"num_layers_huge", [](PlanT& p) { p.model->num_layers = ~0u; }, "model.num_layers is"},
    {"max_position_0", [](PlanT& p) { p.model->max_position_embeddings = 0; }, "model.max_position_embeddings is 0"},
    {"layer_letters_count", [](PlanT& p) { p.model->layers_block_type = "M"; }, "has 1 letters"},
    {"layer_letters_odd", [](PlanT& p) { p.model->layers_block_type = "MX"; }, "layers_block_type[1]"},
    {"bos_too_large", [](PlanT& p) { p.model->bos_token_id = 40; }, "model.bos_token_id is 40"},
    {"bos_negative", [](PlanT& p) { p.model->bos_token_id = -2; }, "model.bos_token_id is -2"},
    {"eos_negative", [](PlanT& p) { p.model->eos_token_ids = {2, -1}; }, "model.eos_token_ids[1] is -1"},
    {"model_dtype", [](PlanT& p) { p.model->dtype = schema::DType(77); }, "model.dtype is 77"},

    {"weight_name_empty", [](PlanT& p) { p.weights[0]->name = ""; }, "weights[0].name has 0 characters"},
    {"weight_name_long", [](PlanT& p) { p.weights[0]->name = std::string(300, 'x'); }, "has 300 characters"},
    {"weight_name_escape", [](PlanT& p) { p.weights[0]->name = "a\x1b[2J"; }, "byte 0x1b at position 1"},
    {"weight_name_twice", [](PlanT& p) { p.weights[1]->name = "embedding"; }, "weights[1] 'embedding' has the name"},
    {"weight_dtype", [](PlanT& p) { p.weights[0]->dtype = schema::DType(8); }, "weights[0] 'embedding' dtype is 8"},
    {"weight_layout", [](PlanT& p) { p.weights[0]->layout = schema::Layout(3); }, "'embedding' layout is 3"},
    {"weight_shape_empty", [](PlanT& p) { p.weights[0]->shape.clear(); }, "has 0 dimensions"},
    {"weight_shape_long", [](PlanT& p) { p.weights[0]->shape.assign(9, 1); }, "has 9 dimensions"},
    {"weight_shape_0", [](PlanT& p) { p.weights[0]->shape = {0, 16}; }, "dimensions of at least 1"},
    {"weight_shape_negative", [](PlanT& p) { p.weights[0]->shape = {-40, -16}; }, "dimensions of at least 1"},
    {"weight_shape_overflow", [](PlanT& p) { p.weights[0]->shape = {1ll << 33, 1ll << 33}; }, "more than 2^62"},
    {"weight_bytes_overflow", [](PlanT& p) { p.weights[0]->shape = {1ll << 31, 1ll << 31}; }, "more than 2^63 bytes"},
    {"weight_panel_rank", [](PlanT& p) { p.weights[3]->shape = {16}; }, "layout Panel takes [N, K]"},
    {"weight_panel_dtype", [](PlanT& p) { p.weights[3]->dtype = schema::DType::U8; },
     "is u8, but layout Panel holds f32, bf16, f8e4m3 or i8"},
    {"weight_fragment_dtype", [](PlanT& p) { p.weights[3]->layout = schema::Layout::Fragment; },
     "is f32, but layout Fragment holds bf16 or f8e4m3"},
    {"weight_panel_overflow", [](PlanT& p) { p.weights[3]->shape = {1ll << 61, 1, 2}; }, "when packed"},
    {"weight_size_small", [](PlanT& p) { p.weights[0]->shape = {41, 16}; },
     "has a segment of 2560 bytes, expected 2624"},
    {"weight_unaligned", [](PlanT& p) { SetSegment(p, 0, 4096 + 64, 2560); }, "starts at byte 4160"},
    {"weight_in_preamble", [](PlanT& p) { SetSegment(p, 0, 0, 2560); }, "starts at byte 0"},
    {"weight_behind_end", [](PlanT& p) { SetSegment(p, 0, 1 << 20, 2560); }, "ends at byte 1048576 + 2560"},
    {"weight_wraps", [](PlanT& p) { SetSegment(p, 0, kHuge, 8192); }, "behind the start of the metadata"},
    {"weight_size_wraps", [](PlanT& p) { SetSegment(p, 0, 4096, kHuge); }, "behind the start of the metadata"},
    {"weights_overlap",
     [](PlanT& p) {
       p.weights[0]->shape = {96, 16};  // reaches into the next
       SetSegment(p, 0, 4096, 96 * 16 * 4);
     },
     "segments of 'embedding' (bytes 4096 to 10240) and 'conv' (bytes 8192 to 8448) overlap"},

    {"state_name_twice", [](PlanT& p) { p.states[1]->name = p.states[0]->name; }, "has the name of an earlier state"},
    {"state_kind", [](PlanT& p) { p.states[0]->kind = schema::StateKind(4); }, "'layers.0.conv' kind is 4"},
    {"state_dtype", [](PlanT& p) { p.states[0]->dtype = schema::DType(9); }, "'layers.0.conv' dtype is 9"},
    {"conv_dtype", [](PlanT& p) { p.states[0]->dtype = schema::DType::BF16; },
     "'layers.0.conv' is bf16, expected f32 for kind Conv"},
    {"ssm_dtype", [](PlanT& p) { p.states[1]->dtype = schema::DType::F8E4M3; },
     "'layers.0.ssm' is f8e4m3, expected f32 or bf16 for kind Ssm"},
    {"kv_dtype", [](PlanT& p) { p.states[3]->dtype = schema::DType::F16; },
     "is f16, expected f32 or bf16 or f8e4m3 for kind KvCache"},
    {"state_rank", [](PlanT& p) { p.states[0]->shape = {3}; }, "has 1 dimensions, expected 2 for kind Conv"},
    {"state_dimension", [](PlanT& p) { p.states[0]->shape = {3, -1}; }, "dimensions of at least 1"},
    {"state_kv_pair", [](PlanT& p) { p.states[3]->shape[0] = 3; }, "expected 2 (keys and values)"},
    {"state_unaligned", [](PlanT& p) { p.states[1]->offset_bytes += 4; }, "expected a multiple of 64"},
    {"state_behind_slot", [](PlanT& p) { p.states[1]->offset_bytes = p.slot_bytes; }, "but slot_bytes is 1856"},
    {"state_wraps", [](PlanT& p) { p.states[1]->offset_bytes = ~uint64_t{63}; }, "but slot_bytes is 1856"},
    {"state_large", [](PlanT& p) { p.states[1]->shape = {1ll << 20, 1ll << 20, 1ll << 20}; }, "slot_bytes is 1856"},
    {"state_behind_page", [](PlanT& p) { p.states[3]->offset_bytes = 64; }, "but kv_bytes_per_token is 128"},
    {"recent_dtype", [](PlanT& p) { p.states[2]->dtype = schema::DType::BF16; },
     "'layers.0.ssm.recent' is bf16, expected f32 for kind Recent"},
    {"recent_rank", [](PlanT& p) { p.states[2]->shape = {4, 4, 22}; }, "has 3 dimensions, expected 2 for kind Recent"},
    {"states_overlap", [](PlanT& p) { p.states[1]->offset_bytes = 128; }, "'layers.0.conv' and 'layers.0.ssm' overlap"},
    {"slot_bytes_huge", [](PlanT& p) { p.slot_bytes = kHuge; }, "slot_bytes is"},
    {"slot_bytes_odd", [](PlanT& p) { p.slot_bytes += 1; }, "slot_bytes is 1857, expected a multiple"},
    {"kv_bytes_huge", [](PlanT& p) { p.kv_bytes_per_token = kHuge; }, "kv_bytes_per_token is"},
    {"kv_bytes_odd", [](PlanT& p) { p.kv_bytes_per_token = 65; }, "kv_bytes_per_token is 65, expected a multiple"},

    {"kernel_name", [](PlanT& p) { p.program->kernels[0]->name = "a b"; }, "program.kernels[0].name has byte 0x20"},
    {"kernel_twice", [](PlanT& p) { p.program->kernels[1]->name = "cpu.embedding"; },
     "has the name of an earlier kernel"},
    {"buffer_name_twice", [](PlanT& p) { p.program->buffers[1]->name = "hidden"; },
     "has the name of an earlier buffer"},
    {"buffer_dtype", [](PlanT& p) { p.program->buffers[0]->dtype = schema::DType(8); }, "'hidden' dtype is 8"},
    {"buffer_space", [](PlanT& p) { p.program->buffers[0]->space = schema::Space(2); }, "'hidden' space is 2"},
    {"buffer_columns_0", [](PlanT& p) { p.program->buffers[0]->columns = 0; }, "has 0 columns"},
    {"buffer_columns_wide", [](PlanT& p) { p.program->buffers[0]->columns = 17; },
     "has 17 columns of f32, expected 1 to 16"},
    {"buffer_columns_huge", [](PlanT& p) { p.program->buffers[0]->columns = kHuge; }, "columns of f32"},
    {"buffer_row_odd", [](PlanT& p) { p.program->buffers[0]->row_bytes = 65; }, "rows of 65 bytes"},
    {"buffer_row_huge", [](PlanT& p) { p.program->buffers[0]->row_bytes = kHuge; }, "ends at byte 0 +"},
    {"buffer_offset_odd", [](PlanT& p) { p.program->buffers[0]->offset_bytes = 32; }, "at offset 32"},
    {"buffer_offset_huge", [](PlanT& p) { p.program->buffers[0]->offset_bytes = kHuge; }, "of an arena of"},
    {"buffer_behind_arena", [](PlanT& p) { p.program->token_arena_bytes = 64; }, "of an arena of 64 bytes a token"},
    {"arena_huge", [](PlanT& p) { p.program->token_arena_bytes = kHuge; }, "program.token_arena_bytes is"},
    {"row_arena_odd", [](PlanT& p) { p.program->row_arena_bytes += 1; }, "program.row_arena_bytes is"},
    {"without_reuse", [](PlanT& p) { p.program->token_bytes_without_reuse += 64; }, "the buffers sum up to"},
    {"buffer_zeroed_of_cpu", [](PlanT& p) { p.program->buffers[0]->zeroed = true; },
     "'hidden' is zeroed, which target 'cpu' has no memory for"},
    {"logits_index", [](PlanT& p) { p.program->logits = 1000; }, "program.logits is 1000"},
    {"logits_space", [](PlanT& p) { p.program->logits = 0; }, "names buffer 'hidden'"},
    {"samples_index", [](PlanT& p) { p.program->samples = 1000; }, "program.samples is 1000"},
    {"samples_index_negative", [](PlanT& p) { p.program->samples = -2; }, "program.samples is -2"},
    {"samples_type", [](PlanT& p) { p.program->samples = static_cast<int32_t>(p.program->logits); },
     "program.samples names buffer 'logits' of f32 Row 40 columns in rows of 192 bytes, expected i32 [R, 16]"},
    {"samples_unwritten", AddSamples, "'samples', which does not hold data at the end of the program"},

    {"dispatch_kernel", [](PlanT& p) { p.program->dispatches[0]->kernel = 99; }, "dispatches[0] names kernel 99"},
    {"dispatch_layer", [](PlanT& p) { p.program->dispatches[0]->layer = 2; }, "belongs to layer 2"},
    {"dispatch_layer_negative", [](PlanT& p) { p.program->dispatches[0]->layer = -2; }, "belongs to layer -2"},
    {"argument_kind", [](PlanT& p) { p.program->dispatches[0]->arguments[0]->kind = schema::ArgumentKind(4); },
     "kind is 4"},
    {"argument_name", [](PlanT& p) { p.program->dispatches[0]->arguments[0]->name = ""; }, "argument 0 name has 0"},
    {"argument_twice", [](PlanT& p) { Find(p, "cpu.add").arguments[1]->name = "lhs"; },
     "argument 'lhs' is given twice"},
    {"argument_buffer", [](PlanT& p) { p.program->dispatches[0]->arguments[0]->index = 99; },
     "has index 99, but there are"},
    {"argument_weight", [](PlanT& p) { p.program->dispatches[0]->arguments[1]->index = 99; }, "weights"},
    {"argument_state", [](PlanT& p) { Find(p, "cpu.ssm_scan").arguments.back()->index = 99; }, "states"},
    {"argument_columns_0", [](PlanT& p) { Find(p, "cpu.add").arguments[0]->columns = 0; },
     "of buffer 'hidden', which has 16"},
    {"argument_columns_wide", [](PlanT& p) { Find(p, "cpu.ssm_scan").arguments[3]->columns = 3; }, "which has 26"},
    {"argument_column_wraps", [](PlanT& p) { Find(p, "cpu.add").arguments[0]->column = kHuge; }, "which has 16"},
    {"argument_columns_wrap", [](PlanT& p) { Find(p, "cpu.add").arguments[0]->columns = kHuge; }, "which has 16"},
    {"parameter_twice", [](PlanT& p) { Find(p, "cpu.ssm_scan").parameters[1]->name = "num_heads"; },
     "has parameter 'num_heads' twice"},
    {"parameter_type", [](PlanT& p) { Find(p, "cpu.ssm_scan").parameters[0]->type = schema::ParameterType(4); },
     "type is 4"},
    {"parameter_bool", [](PlanT& p) { Find(p, "cpu.ssm_scan").parameters[0]->type = schema::ParameterType::Bool; },
     "is 2, expected 0 or 1"},
    {"parameter_nan", [](PlanT& p) { Find(p, "cpu.ssm_scan").parameters[4]->float_value = std::nan(""); },
     "'dt_min' is not a number"},
    {"parameter_text_long",
     [](PlanT& p) { Find(p, "cpu.linear").parameters[0]->string_value = std::string(1000, 'x'); },
     "has no text, or more"},

    {"output_overlaps_input",
     [](PlanT& p) { Find(p, "cpu.add").arguments[2]->index = Find(p, "cpu.add").arguments[0]->index; },
     "output 'output' overlaps argument 'lhs'"},
    {"output_overlaps_memory",
     [](PlanT& p) {
       p.program->buffers[Find(p, "cpu.add").arguments[2]->index]->offset_bytes =
           p.program->buffers[Find(p, "cpu.add").arguments[1]->index]->offset_bytes;
     },
     "output 'output' overlaps argument 'rhs'"},
    {"read_before_write", [](PlanT& p) { std::swap(p.program->dispatches[1], p.program->dispatches[0]); },
     "which no dispatch before has written"},
    {"read_after_overwrite",
     [](PlanT& p) {  // the window takes the place of the hidden state, which the add wants later
       p.program->buffers[1]->offset_bytes = p.program->buffers[0]->offset_bytes;
       p.program->dispatches[1]->arguments.erase(  // else it would be found to overlap its input
           p.program->dispatches[1]->arguments.begin());
     },
     "which another buffer has overwritten"},
    {"logits_not_written", [](PlanT& p) { p.program->dispatches.pop_back(); }, "does not hold data at the end"},

    {"generation_temperature", [](PlanT& p) { p.generation->temperature = -1; }, "generation.temperature is -1"},
    {"generation_temperature_nan", [](PlanT& p) { p.generation->temperature = std::nan(""); }, "temperature is nan"},
    {"generation_top_k", [](PlanT& p) { p.generation->top_k = -1; }, "generation.top_k is -1"},
    {"generation_top_p", [](PlanT& p) { p.generation->top_p = 0; }, "generation.top_p is 0"},
    {"generation_min_p", [](PlanT& p) { p.generation->min_p = 2; }, "generation.min_p is 2"},
    {"generation_penalty", [](PlanT& p) { p.generation->repetition_penalty = 0; }, "repetition_penalty is 0"},
    {"tokenizer_kind",
     [](PlanT& p) {
       p.tokenizer = std::make_unique<schema::TokenizerT>();
       p.tokenizer->kind = "runes";
       p.tokenizer->data = std::make_unique<Segment>(4096, 1, 0);
     },
     "tokenizer.kind is 'runes'", StatusCode::kUnimplemented},
    {"tokenizer_segment",
     [](PlanT& p) {
       p.tokenizer = std::make_unique<schema::TokenizerT>();
       p.tokenizer->kind = "sentencepiece";
       p.tokenizer->data = std::make_unique<Segment>(4097, 1, 0);
     },
     "tokenizer.data starts at byte 4097"},
};

class PlanMutationTest : public ::testing::TestWithParam<Mutation> {};

TEST_P(PlanMutationTest, IsRejected) {
  testing::PlanDraft draft = testing::MakeTinyPlan();
  GetParam().apply(draft.plan);
  const testing::AlignedBytes bytes(testing::PackPlan(draft));
  const auto plan = Plan::FromBytes(bytes.span(), {});
  ASSERT_FALSE(plan.ok());
  EXPECT_EQ(plan.status().code(), GetParam().code) << plan.status().message();
  EXPECT_THAT(plan.status().message(), HasSubstr(GetParam().message));
}

INSTANTIATE_TEST_SUITE_P(All, PlanMutationTest, ::testing::ValuesIn(kMutations),
                         [](const auto& info) { return std::string(info.param.name); });

TEST(PlanSharingTest, WeightsMayShareASegment) {
  testing::PlanDraft draft = testing::MakeTinyPlan();
  auto twin = std::make_unique<schema::WeightT>(*draft.plan.weights[0]);
  twin->name = "twin";
  draft.plan.weights.push_back(std::move(twin));
  const auto plan = testing::LoadDraft(draft);
  const auto original = testing::LoadTinyPlan();
  EXPECT_EQ(plan->weight_bytes(), original->weight_bytes());
}

}  // namespace
}  // namespace nemotron::runtime
