// The C interface: handles, struct sizes and exceptions end here; all else is the C++ interface.

#include <algorithm>
#include <atomic>
#include <cstring>
#include <exception>
#include <memory>
#include <new>
#include <string>
#include <utility>
#include <vector>

#include "runtime/engine/engine.h"
#include "runtime/engine/generator.h"
#include "runtime/engine/sampler.h"
#include "runtime/nemotron.h"

using namespace nemotron::runtime;  // NOLINT: the functions below are in no namespace
namespace schema = nemotron::schema;

struct nemotron_plan {
  std::shared_ptr<const Plan> plan;
};
struct nemotron_engine {
  std::unique_ptr<Engine> engine;
  std::vector<float> logits;
  std::vector<StepEntry> entries;
};
struct nemotron_sampler {
  Sampler sampler;
};

namespace {

static_assert(NEMOTRON_DATA_LOSS == static_cast<int>(StatusCode::kDataLoss));
static_assert(NEMOTRON_RESOURCE_EXHAUSTED == static_cast<int>(StatusCode::kResourceExhausted));
static_assert(NEMOTRON_FINISH_CONTEXT == static_cast<int>(FinishReason::kContextFull));
static_assert(NEMOTRON_LOGITS_ALL == static_cast<int>(StepEntry::Logits::kAll));

thread_local std::string last_error;

nemotron_status Report(const Status& status) {
  if (!status.ok()) {
    last_error = status.message();
  }
  return static_cast<nemotron_status>(status.code());
}

/// Runs `body`, which returns a Status, and turns whatever comes out into a code.
template <typename Body>
nemotron_status Guard(const Body& body) {
  try {
    return Report(body());
  } catch (const std::bad_alloc&) {
    return Report(Error(StatusCode::kResourceExhausted, "the host is out of memory"));
  } catch (const std::exception& error) {
    return Report(Error(StatusCode::kInternal, "{}", error.what()));
  }
}

Status CheckPointer(const void* pointer, const char* name) {
  return pointer == nullptr ? InvalidArgument("{} is NULL", name) : OkStatus();
}

/// A struct as this library knows it, from one of a caller that may know less (or more) of it.
template <typename T>
Status ReadStruct(const T* source, const char* name, T* target) {
  if (source->size < sizeof(size_t)) {
    return InvalidArgument("{}->size is {}: set it with the _init function, or to sizeof", name, source->size);
  }
  std::memcpy(static_cast<void*>(target), source, std::min(source->size, sizeof(T)));
  target->size = sizeof(T);
  return OkStatus();
}

/// The other way: fills as much as the caller's struct has room for.
template <typename T>
Status WriteStruct(const T& source, const char* name, T* target) {
  if (target->size < sizeof(size_t)) {
    return InvalidArgument("{}->size is {}: set it to sizeof", name, target->size);
  }
  const size_t size = target->size;
  std::memcpy(static_cast<void*>(target), &source, std::min(size, sizeof(T)));
  target->size = size;
  return OkStatus();
}

StatusOr<EngineOptions> ReadEngineOptions(const nemotron_engine_options* options) {
  nemotron_engine_options known;
  nemotron_engine_options_init(&known);
  if (options != nullptr) {
    RETURN_IF_ERROR(ReadStruct(options, "options", &known));
  }
  EngineOptions result;
  result.device = known.device == nullptr ? "auto" : known.device;
  result.num_threads = known.num_threads;
  result.pin_threads = known.pin_threads != 0;
  if (known.max_sequences != 0) {
    result.max_sequences = known.max_sequences;
  }
  result.max_tokens_per_step = known.max_tokens_per_step;
  result.max_rows_per_step = known.max_rows_per_step;
  result.context_tokens = known.context_tokens;
  result.page_tokens = known.page_tokens;
  result.memory_limit_bytes = known.memory_limit_bytes;
  if (known.on_load != nullptr) {
    result.load_progress = [on_load = known.on_load, user_data = known.user_data](int64_t done, int64_t total) {
      on_load(user_data, done, total);
    };
  }
  return result;
}

nemotron_memory_report MakeReport(const MemoryReport& report) {
  return {.size = sizeof(nemotron_memory_report),
          .weight_bytes = report.weight_bytes,
          .slot_bytes = report.slot_bytes,
          .page_bytes = report.page_bytes,
          .workspace_bytes = report.workspace_bytes,
          .total_bytes = report.total_bytes(),
          .available_bytes = report.available_bytes,
          .num_slots = report.num_slots,
          .num_pages = report.num_pages,
          .page_tokens = report.page_tokens};
}

/// The plan's defaults for `plan`, else the library's.
nemotron_sampling_options DefaultSampling(const Plan* plan) {
  const SamplingOptions sampling = plan == nullptr ? SamplingOptions() : SamplingDefaults(*plan);
  return {.size = sizeof(nemotron_sampling_options),
          .repetition_penalty = sampling.repetition_penalty,
          .temperature = sampling.temperature,
          .top_k = sampling.top_k,
          .top_p = sampling.top_p,
          .min_p = sampling.min_p,
          .seed = sampling.seed};
}

/// `options` over the defaults; NULL: the defaults.
StatusOr<SamplingOptions> ReadSampling(const nemotron_sampling_options* options, const Plan* plan) {
  nemotron_sampling_options known = DefaultSampling(plan);
  if (options != nullptr) {
    RETURN_IF_ERROR(ReadStruct(options, "sampling", &known));
  }
  SamplingOptions result;
  result.repetition_penalty = known.repetition_penalty;
  result.temperature = known.temperature;
  result.top_k = known.top_k;
  result.top_p = known.top_p;
  result.min_p = known.min_p;
  result.seed = known.seed;
  RETURN_IF_ERROR(result.Validate());
  return result;
}

Status CheckTokens(const int32_t* tokens, size_t count, const char* name) {
  return count > 0 ? CheckPointer(tokens, name) : OkStatus();
}

StatusOr<const Tokenizer*> TokenizerOf(const nemotron_engine* engine) {
  RETURN_IF_ERROR(CheckPointer(engine, "engine"));
  if (engine->engine->tokenizer() == nullptr) {
    return Error(StatusCode::kFailedPrecondition, "the plan has no tokenizer");
  }
  return engine->engine->tokenizer();
}

const char* TextOrEmpty(const flatbuffers::String* text) { return text == nullptr ? "" : text->c_str(); }

}  // namespace

int32_t nemotron_api_version(void) { return NEMOTRON_API_VERSION_MAJOR * 1000 + NEMOTRON_API_VERSION_MINOR; }

const char* nemotron_last_error(void) { return last_error.c_str(); }

const char* nemotron_status_name(nemotron_status status) { return StatusCodeName(static_cast<StatusCode>(status)); }

nemotron_status nemotron_plan_load(const char* path, int32_t verify, nemotron_plan** out_plan) {
  return Guard([&]() -> Status {
    RETURN_IF_ERROR(CheckPointer(path, "path"));
    RETURN_IF_ERROR(CheckPointer(out_plan, "out_plan"));
    using Verify = Plan::LoadOptions::VerifyWeights;
    const Verify mode = verify > 0 ? Verify::kAlways : verify == 0 ? Verify::kNever : Verify::kAuto;
    ASSIGN_OR_RETURN(std::shared_ptr<const Plan> plan, Plan::Load(path, {.verify_weights = mode}));
    *out_plan = new nemotron_plan{std::move(plan)};
    return OkStatus();
  });
}

void nemotron_plan_free(nemotron_plan* plan) { delete plan; }

nemotron_status nemotron_plan_verify(const nemotron_plan* plan) {
  return Guard([&]() -> Status {
    RETURN_IF_ERROR(CheckPointer(plan, "plan"));
    return plan->plan->VerifySegments();
  });
}

nemotron_status nemotron_plan_get_info(const nemotron_plan* plan, nemotron_plan_info* out_info) {
  return Guard([&]() -> Status {
    RETURN_IF_ERROR(CheckPointer(plan, "plan"));
    RETURN_IF_ERROR(CheckPointer(out_info, "out_info"));
    const schema::Plan& root = plan->plan->root();
    const schema::Model& model = *root.model();
    const nemotron_plan_info info = {.size = sizeof(nemotron_plan_info),
                                     .vocab_size = model.vocab_size(),
                                     .hidden_size = model.hidden_size(),
                                     .num_layers = model.num_layers(),
                                     .bos_token_id = model.bos_token_id(),
                                     .max_position_embeddings = model.max_position_embeddings(),
                                     .num_parameters = model.num_parameters(),
                                     .weight_bytes = plan->plan->weight_bytes(),
                                     .state_bytes_per_sequence = static_cast<int64_t>(root.slot_bytes()),
                                     .kv_bytes_per_token = static_cast<int64_t>(root.kv_bytes_per_token()),
                                     .architecture = model.architecture()->c_str(),
                                     .name = TextOrEmpty(model.name()),
                                     .chat_template = TextOrEmpty(root.chat_template()),
                                     .has_tokenizer = root.tokenizer() != nullptr ? 1 : 0};
    return WriteStruct(info, "out_info", out_info);
  });
}

void nemotron_engine_options_init(nemotron_engine_options* options) {
  if (options != nullptr) {
    *options = {};
    options->size = sizeof(*options);
  }
}

nemotron_status nemotron_engine_plan_memory(const nemotron_plan* plan, const nemotron_engine_options* options,
                                            nemotron_memory_report* out_report) {
  return Guard([&]() -> Status {
    RETURN_IF_ERROR(CheckPointer(plan, "plan"));
    RETURN_IF_ERROR(CheckPointer(out_report, "out_report"));
    ASSIGN_OR_RETURN(const EngineOptions engine_options, ReadEngineOptions(options));
    ASSIGN_OR_RETURN(const MemoryReport report, Engine::PlanMemory(*plan->plan, engine_options));
    return WriteStruct(MakeReport(report), "out_report", out_report);
  });
}

nemotron_status nemotron_engine_load(const nemotron_plan* plan, const nemotron_engine_options* options,
                                     nemotron_engine** out_engine) {
  return Guard([&]() -> Status {
    RETURN_IF_ERROR(CheckPointer(plan, "plan"));
    RETURN_IF_ERROR(CheckPointer(out_engine, "out_engine"));
    ASSIGN_OR_RETURN(const EngineOptions engine_options, ReadEngineOptions(options));
    ASSIGN_OR_RETURN(std::unique_ptr<Engine> engine, Engine::Load(plan->plan, engine_options));
    *out_engine = new nemotron_engine{.engine = std::move(engine), .logits = {}, .entries = {}};
    return OkStatus();
  });
}

void nemotron_engine_free(nemotron_engine* engine) { delete engine; }

nemotron_status nemotron_engine_get_memory(const nemotron_engine* engine, nemotron_memory_report* out_report) {
  return Guard([&]() -> Status {
    RETURN_IF_ERROR(CheckPointer(engine, "engine"));
    RETURN_IF_ERROR(CheckPointer(out_report, "out_report"));
    return WriteStruct(MakeReport(engine->engine->memory()), "out_report", out_report);
  });
}

nemotron_status nemotron_tokenize(const nemotron_engine* engine, const char* text, size_t text_bytes,
                                  int32_t add_special, int32_t* out_tokens, size_t capacity, size_t* out_count) {
  return Guard([&]() -> Status {
    RETURN_IF_ERROR(CheckPointer(text_bytes > 0 ? text : "", "text"));
    RETURN_IF_ERROR(CheckPointer(out_count, "out_count"));
    ASSIGN_OR_RETURN(const Tokenizer* tokenizer, TokenizerOf(engine));
    const std::string_view view = text_bytes > 0 ? std::string_view(text, text_bytes) : std::string_view();
    ASSIGN_OR_RETURN(const std::vector<int32_t> tokens, add_special != 0
                                                            ? EncodePrompt(engine->engine->plan(), *tokenizer, view)
                                                            : tokenizer->Encode(view, /*add_special_tokens=*/false));
    *out_count = tokens.size();
    if (tokens.size() > capacity) {
      return Error(StatusCode::kResourceExhausted, "the text has {} tokens, but there is room for {}", tokens.size(),
                   capacity);
    }
    RETURN_IF_ERROR(CheckTokens(out_tokens, tokens.size(), "out_tokens"));
    std::copy(tokens.begin(), tokens.end(), out_tokens);
    return OkStatus();
  });
}

nemotron_status nemotron_detokenize(const nemotron_engine* engine, const int32_t* tokens, size_t num_tokens,
                                    char* out_text, size_t capacity, size_t* out_bytes) {
  return Guard([&]() -> Status {
    RETURN_IF_ERROR(CheckTokens(tokens, num_tokens, "tokens"));
    RETURN_IF_ERROR(CheckPointer(out_bytes, "out_bytes"));
    ASSIGN_OR_RETURN(const Tokenizer* tokenizer, TokenizerOf(engine));
    ASSIGN_OR_RETURN(const std::string text, tokenizer->Decode({tokens, num_tokens}, /*skip_special_tokens=*/true));
    *out_bytes = text.size();
    if (text.size() >= capacity) {
      return Error(StatusCode::kResourceExhausted, "the text has {} bytes and a final 0, but there is room for {}",
                   text.size(), capacity);
    }
    RETURN_IF_ERROR(CheckPointer(out_text, "out_text"));
    std::memcpy(out_text, text.c_str(), text.size() + 1);
    return OkStatus();
  });
}

nemotron_status nemotron_sequence_create(nemotron_engine* engine, nemotron_sequence* out_sequence) {
  return Guard([&]() -> Status {
    RETURN_IF_ERROR(CheckPointer(engine, "engine"));
    RETURN_IF_ERROR(CheckPointer(out_sequence, "out_sequence"));
    ASSIGN_OR_RETURN(const SequenceId sequence, engine->engine->CreateSequence());
    *out_sequence = static_cast<nemotron_sequence>(sequence);
    return OkStatus();
  });
}

nemotron_status nemotron_sequence_fork(nemotron_engine* engine, nemotron_sequence sequence,
                                       nemotron_sequence* out_sequence) {
  return Guard([&]() -> Status {
    RETURN_IF_ERROR(CheckPointer(engine, "engine"));
    RETURN_IF_ERROR(CheckPointer(out_sequence, "out_sequence"));
    ASSIGN_OR_RETURN(const SequenceId fork, engine->engine->Fork(SequenceId{sequence}));
    *out_sequence = static_cast<nemotron_sequence>(fork);
    return OkStatus();
  });
}

nemotron_status nemotron_sequence_release(nemotron_engine* engine, nemotron_sequence sequence) {
  return Guard([&]() -> Status {
    RETURN_IF_ERROR(CheckPointer(engine, "engine"));
    return engine->engine->Release(SequenceId{sequence});
  });
}

nemotron_status nemotron_sequence_tokens(const nemotron_engine* engine, nemotron_sequence sequence,
                                         const int32_t** out_tokens, size_t* out_count) {
  return Guard([&]() -> Status {
    RETURN_IF_ERROR(CheckPointer(engine, "engine"));
    RETURN_IF_ERROR(CheckPointer(out_tokens, "out_tokens"));
    RETURN_IF_ERROR(CheckPointer(out_count, "out_count"));
    ASSIGN_OR_RETURN(const std::span<const int32_t> tokens, engine->engine->Tokens(SequenceId{sequence}));
    *out_tokens = tokens.data();
    *out_count = tokens.size();
    return OkStatus();
  });
}

nemotron_status nemotron_sequence_save(const nemotron_engine* engine, nemotron_sequence sequence, const char* path) {
  return Guard([&]() -> Status {
    RETURN_IF_ERROR(CheckPointer(engine, "engine"));
    RETURN_IF_ERROR(CheckPointer(path, "path"));
    return engine->engine->Save(SequenceId{sequence}, path);
  });
}

nemotron_status nemotron_sequence_restore(nemotron_engine* engine, const char* path, nemotron_sequence* out_sequence) {
  return Guard([&]() -> Status {
    RETURN_IF_ERROR(CheckPointer(engine, "engine"));
    RETURN_IF_ERROR(CheckPointer(path, "path"));
    RETURN_IF_ERROR(CheckPointer(out_sequence, "out_sequence"));
    ASSIGN_OR_RETURN(const SequenceId sequence, engine->engine->Restore(path));
    *out_sequence = static_cast<nemotron_sequence>(sequence);
    return OkStatus();
  });
}

nemotron_status nemotron_step(nemotron_engine* engine, const nemotron_step_entry* entries, size_t num_entries,
                              const float** out_logits, size_t* out_num_rows) {
  return Guard([&]() -> Status {
    RETURN_IF_ERROR(CheckPointer(engine, "engine"));
    RETURN_IF_ERROR(CheckPointer(num_entries > 0 ? entries : static_cast<const void*>(engine), "entries"));
    engine->entries.clear();
    bool wants_rows = false;
    for (size_t i = 0; i < num_entries; ++i) {
      const nemotron_step_entry& entry = entries[i];
      RETURN_IF_ERROR(CheckTokens(entry.tokens, entry.num_tokens, "entries[].tokens"));
      if (entry.logits < NEMOTRON_LOGITS_NONE || entry.logits > NEMOTRON_LOGITS_ALL) {
        return InvalidArgument("entries[{}].logits is {}, expected 0 to 2", i, static_cast<int>(entry.logits));
      }
      wants_rows |= entry.logits != NEMOTRON_LOGITS_NONE;
      engine->entries.push_back({.sequence = SequenceId{entry.sequence},
                                 .tokens = {entry.tokens, entry.num_tokens},
                                 .logits = static_cast<StepEntry::Logits>(entry.logits)});
    }
    if (wants_rows) {
      RETURN_IF_ERROR(CheckPointer(out_logits, "out_logits"));
    }
    RETURN_IF_ERROR(engine->engine->Step(engine->entries, &engine->logits));
    if (out_logits != nullptr) {
      *out_logits = engine->logits.data();
    }
    if (out_num_rows != nullptr) {
      *out_num_rows = engine->logits.size() / static_cast<size_t>(engine->engine->vocab_size());
    }
    return OkStatus();
  });
}

void nemotron_sampling_options_init(nemotron_sampling_options* options, const nemotron_plan* plan) {
  if (options != nullptr) {
    *options = DefaultSampling(plan == nullptr ? nullptr : plan->plan.get());
  }
}

nemotron_status nemotron_sampler_create(const nemotron_sampling_options* options, nemotron_sampler** out_sampler) {
  return Guard([&]() -> Status {
    RETURN_IF_ERROR(CheckPointer(out_sampler, "out_sampler"));
    ASSIGN_OR_RETURN(const SamplingOptions sampling, ReadSampling(options, nullptr));
    *out_sampler = new nemotron_sampler{Sampler(sampling)};
    return OkStatus();
  });
}

void nemotron_sampler_free(nemotron_sampler* sampler) { delete sampler; }

nemotron_status nemotron_sampler_sample(nemotron_sampler* sampler, const float* logits, size_t vocab_size,
                                        const int32_t* history, size_t history_count, int32_t* out_token,
                                        float* out_logprob) {
  return Guard([&]() -> Status {
    RETURN_IF_ERROR(CheckPointer(sampler, "sampler"));
    RETURN_IF_ERROR(CheckPointer(logits, "logits"));
    RETURN_IF_ERROR(CheckTokens(history, history_count, "history"));
    RETURN_IF_ERROR(CheckPointer(out_token, "out_token"));
    if (vocab_size == 0) {
      return InvalidArgument("vocab_size is 0, expected at least 1");
    }
    const SampledToken sampled = sampler->sampler.Sample({logits, vocab_size}, {history, history_count});
    *out_token = sampled.token;
    if (out_logprob != nullptr) {
      *out_logprob = sampled.logprob;
    }
    return OkStatus();
  });
}

void nemotron_generation_options_init(nemotron_generation_options* options) {
  if (options != nullptr) {
    *options = {};
    options->size = sizeof(*options);
    options->max_new_tokens = GenerationOptions().max_new_tokens;
  }
}

nemotron_status nemotron_generate(nemotron_engine* engine, nemotron_sequence sequence, const int32_t* prompt,
                                  size_t num_prompt_tokens, const nemotron_generation_options* options,
                                  nemotron_generation_result* out_result) {
  return Guard([&]() -> Status {
    RETURN_IF_ERROR(CheckPointer(engine, "engine"));
    RETURN_IF_ERROR(CheckTokens(prompt, num_prompt_tokens, "prompt"));
    nemotron_generation_options known;
    nemotron_generation_options_init(&known);
    if (options != nullptr) {
      RETURN_IF_ERROR(ReadStruct(options, "options", &known));
    }
    if (out_result != nullptr && out_result->size < sizeof(size_t)) {
      return InvalidArgument("out_result->size is {}: set it to sizeof", out_result->size);
    }
    GenerationOptions generation;
    ASSIGN_OR_RETURN(generation.sampling, ReadSampling(known.sampling, &engine->engine->plan()));
    generation.max_new_tokens = known.max_new_tokens;
    generation.ignore_eos = known.ignore_eos != 0;
    if (known.num_stop > 0) {
      RETURN_IF_ERROR(CheckPointer(known.stop, "options->stop"));
    }
    for (size_t i = 0; i < known.num_stop; ++i) {
      RETURN_IF_ERROR(CheckPointer(known.stop[i], "options->stop[]"));
      generation.stop.emplace_back(known.stop[i]);
    }
    std::atomic<bool> cancel = false;
    generation.cancel = &cancel;
    if (known.on_text != nullptr) {
      generation.on_text = [&](std::string_view text) {
        cancel = known.on_text(known.user_data, text.data(), text.size()) != 0 || cancel;
      };
    }
    if (known.on_token != nullptr) {
      generation.on_token = [&](const SampledToken& token) {
        cancel = known.on_token(known.user_data, token.token, token.logprob) != 0 || cancel;
      };
    }
    if (known.on_prefill != nullptr) {
      generation.on_prefill = [&](int64_t done, int64_t total) {
        cancel = known.on_prefill(known.user_data, done, total) != 0 || cancel;
      };
    }
    ASSIGN_OR_RETURN(const GenerationResult result,
                     Generate(*engine->engine, SequenceId{sequence}, {prompt, num_prompt_tokens}, generation));
    if (out_result == nullptr) {
      return OkStatus();
    }
    const nemotron_generation_result written = {.size = sizeof(nemotron_generation_result),
                                                .finish = static_cast<nemotron_finish>(result.finish),
                                                .num_prompt_tokens = result.prompt_tokens,
                                                .num_tokens = static_cast<int64_t>(result.tokens.size()),
                                                .prefill_ms = result.prefill_ms,
                                                .decode_ms = result.decode_ms};
    return WriteStruct(written, "out_result", out_result);
  });
}
