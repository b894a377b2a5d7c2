// The C interface as a C program uses it. Compiled as C; each check that fails says so and ends the run.

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/nemotron.h"

#define CHECK(condition)                                                                                              \
  do {                                                                                                                \
    if (!(condition)) {                                                                                               \
      fprintf(stderr, "%s:%d: %s is false; last error: %s\n", __FILE__, __LINE__, #condition, nemotron_last_error()); \
      exit(1);                                                                                                        \
    }                                                                                                                 \
  } while (0)
#define CHECK_OK(call) CHECK((call) == NEMOTRON_OK)
#define CHECK_FAILS(call, status, text)                   \
  do {                                                    \
    CHECK((call) == (status));                            \
    CHECK(strstr(nemotron_last_error(), (text)) != NULL); \
  } while (0)

enum { kVocabSize = 4096 };

static const char* program;  // the path of this test: a file that is neither plan nor session

static void TestPlan(const char* path) {
  nemotron_plan* plan = NULL;
  CHECK_FAILS(nemotron_plan_load("/nonexistent.plan", -1, &plan), NEMOTRON_NOT_FOUND, "/nonexistent.plan");
  CHECK(plan == NULL);
  CHECK_FAILS(nemotron_plan_load(NULL, -1, &plan), NEMOTRON_INVALID_ARGUMENT, "path is NULL");
  CHECK_FAILS(nemotron_plan_load(path, -1, NULL), NEMOTRON_INVALID_ARGUMENT, "out_plan is NULL");
  CHECK_FAILS(nemotron_plan_load(program, -1, &plan), NEMOTRON_DATA_LOSS, "not a plan file");
  CHECK_OK(nemotron_plan_load(path, 1, &plan));
  CHECK_OK(nemotron_plan_verify(plan));

  nemotron_plan_info info;
  memset(&info, 0xAA, sizeof(info));
  CHECK_FAILS((info.size = 0, nemotron_plan_get_info(plan, &info)), NEMOTRON_INVALID_ARGUMENT, "size is 0");
  info.size = sizeof(info);
  CHECK_OK(nemotron_plan_get_info(plan, &info));
  CHECK(info.vocab_size == kVocabSize);
  CHECK(info.bos_token_id == 1);
  CHECK(info.has_tokenizer == 1);
  CHECK(strcmp(info.architecture, "TinyForTests") == 0);
  CHECK(strcmp(info.chat_template, "") == 0);
  // A caller built against an older header gets only the fields it knows.
  memset(&info, 0xAA, sizeof(info));
  info.size = offsetof(nemotron_plan_info, hidden_size);
  CHECK_OK(nemotron_plan_get_info(plan, &info));
  CHECK(info.vocab_size == kVocabSize);
  CHECK(info.hidden_size == 0xAAAAAAAAAAAAAAAAull);
  nemotron_plan_free(plan);
  nemotron_plan_free(NULL);
}

static void CountProgress(void* user_data, int64_t done, int64_t total) {
  CHECK(done <= total);
  ++*(int*)user_data;
}

static nemotron_engine* LoadEngine(const char* path) {
  nemotron_plan* plan = NULL;
  nemotron_engine* engine = NULL;
  CHECK_OK(nemotron_plan_load(path, -1, &plan));
  nemotron_engine_options options;
  nemotron_engine_options_init(&options);
  options.memory_limit_bytes = 1000;
  CHECK_FAILS(nemotron_engine_load(plan, &options, &engine), NEMOTRON_RESOURCE_EXHAUSTED, "--memory-limit");
  CHECK(engine == NULL);
  nemotron_engine_options_init(&options);
  options.device = "abacus";
  CHECK_FAILS(nemotron_engine_load(plan, &options, &engine), NEMOTRON_INVALID_ARGUMENT, "abacus");
  int calls = 0;
  nemotron_engine_options_init(&options);
  options.num_threads = 2;
  options.pin_threads = 1;
  options.max_sequences = 3;
  options.context_tokens = 256;
  options.on_load = CountProgress;
  options.user_data = &calls;
  nemotron_memory_report planned, taken;
  planned.size = taken.size = sizeof(planned);
  CHECK_OK(nemotron_engine_plan_memory(plan, &options, &planned));
  CHECK(calls == 0);
  CHECK_OK(nemotron_engine_load(plan, &options, &engine));
  CHECK(calls > 0);
  nemotron_plan_free(plan);  // the engine keeps what it needs
  CHECK_OK(nemotron_engine_get_memory(engine, &taken));
  CHECK(taken.total_bytes == planned.total_bytes);
  CHECK(taken.num_slots == 3 && taken.num_pages == 4 && taken.page_tokens == 64);
  return engine;
}

static void TestText(const nemotron_engine* engine) {
  const char* text = "And it came to pass";
  int32_t tokens[64];
  size_t count = 0, bytes = 0;
  char back[64];
  CHECK_FAILS(nemotron_tokenize(engine, text, strlen(text), 1, NULL, 0, &count), NEMOTRON_RESOURCE_EXHAUSTED,
              "room for 0");
  CHECK(count > 1 && count < 64);
  CHECK_OK(nemotron_tokenize(engine, text, strlen(text), 1, tokens, 64, &count));
  CHECK(tokens[0] == 1);  // BOS
  CHECK_FAILS(nemotron_detokenize(engine, tokens, count, back, 5, &bytes), NEMOTRON_RESOURCE_EXHAUSTED, "room for 5");
  CHECK(bytes == strlen(text));
  CHECK_FAILS(nemotron_detokenize(engine, tokens, count, back, bytes, &bytes), NEMOTRON_RESOURCE_EXHAUSTED, "room for");
  CHECK_OK(nemotron_detokenize(engine, tokens, count, back, sizeof(back), &bytes));
  CHECK(strcmp(back, text) == 0);
  CHECK_OK(nemotron_tokenize(engine, NULL, 0, 0, NULL, 0, &count));
  CHECK(count == 0);
  CHECK_FAILS(nemotron_tokenize(engine, "\xff", 1, 0, tokens, 64, &count), NEMOTRON_INVALID_ARGUMENT, "");
}

/// Copies the last row of logits after feeding `tokens`.
static void Feed(nemotron_engine* engine, nemotron_sequence sequence, const int32_t* tokens, size_t count, float* row) {
  const nemotron_step_entry entry = {sequence, tokens, count, NEMOTRON_LOGITS_LAST};
  const float* logits = NULL;
  size_t rows = 0;
  CHECK_OK(nemotron_step(engine, &entry, 1, &logits, &rows));
  CHECK(rows == 1);
  memcpy(row, logits, kVocabSize * sizeof(float));
}

static void TestSequences(nemotron_engine* engine, const char* session_path) {
  static float expected[kVocabSize], found[kVocabSize];
  const int32_t tokens[] = {1, 300, 500, 700, 900};
  nemotron_sequence a, b, c, d;
  CHECK_OK(nemotron_sequence_create(engine, &a));
  Feed(engine, a, tokens, 5, expected);

  CHECK_OK(nemotron_sequence_create(engine, &b));
  Feed(engine, b, tokens, 3, found);
  CHECK_OK(nemotron_sequence_save(engine, b, session_path));
  CHECK_OK(nemotron_sequence_fork(engine, b, &c));
  CHECK_FAILS(nemotron_sequence_create(engine, &d), NEMOTRON_RESOURCE_EXHAUSTED, "--max-sequences");
  Feed(engine, c, tokens + 3, 2, found);
  CHECK(memcmp(found, expected, sizeof(found)) == 0);
  CHECK_OK(nemotron_sequence_release(engine, c));
  CHECK_FAILS(nemotron_sequence_release(engine, c), NEMOTRON_NOT_FOUND, "there is no sequence");
  CHECK_OK(nemotron_sequence_restore(engine, session_path, &d));
  Feed(engine, d, tokens + 3, 2, found);
  CHECK(memcmp(found, expected, sizeof(found)) == 0);
  CHECK_FAILS(nemotron_sequence_restore(engine, program, &c), NEMOTRON_DATA_LOSS, "not a session file");

  const int32_t* taken = NULL;
  size_t count = 0;
  CHECK_OK(nemotron_sequence_tokens(engine, d, &taken, &count));
  CHECK(count == 5 && memcmp(taken, tokens, sizeof(tokens)) == 0);

  // Several sequences in one step, rows in the order of the entries.
  const nemotron_step_entry entries[] = {{b, tokens + 3, 1, NEMOTRON_LOGITS_NONE},
                                         {a, tokens, 2, NEMOTRON_LOGITS_ALL},
                                         {d, tokens, 1, NEMOTRON_LOGITS_LAST}};
  const float* logits = NULL;
  size_t rows = 0;
  CHECK_OK(nemotron_step(engine, entries, 3, &logits, &rows));
  CHECK(rows == 3);
  CHECK(memcmp(logits, logits + 2 * kVocabSize, kVocabSize * sizeof(float)) == 0);  // a and d were alike
  CHECK_FAILS(nemotron_step(engine, entries + 1, 1, NULL, NULL), NEMOTRON_INVALID_ARGUMENT, "out_logits is NULL");
  const int32_t bad = kVocabSize;
  const nemotron_step_entry bad_entry = {a, &bad, 1, NEMOTRON_LOGITS_NONE};
  CHECK_FAILS(nemotron_step(engine, &bad_entry, 1, NULL, NULL), NEMOTRON_INVALID_ARGUMENT, "id 4096");
  CHECK_FAILS(nemotron_step(NULL, entries, 1, NULL, NULL), NEMOTRON_INVALID_ARGUMENT, "engine is NULL");

  CHECK_OK(nemotron_sequence_release(engine, a));
  CHECK_OK(nemotron_sequence_release(engine, b));
  CHECK_OK(nemotron_sequence_release(engine, d));
  remove(session_path);
}

typedef struct {
  char text[4096];
  size_t text_bytes;
  int32_t tokens[256];
  size_t num_tokens;
  size_t cancel_after;
} Collected;

static int32_t OnText(void* user_data, const char* text, size_t text_bytes) {
  Collected* collected = user_data;
  CHECK(collected->text_bytes + text_bytes < sizeof(collected->text));
  memcpy(collected->text + collected->text_bytes, text, text_bytes);
  collected->text_bytes += text_bytes;
  return 0;
}

static int32_t OnToken(void* user_data, int32_t token, float logprob) {
  Collected* collected = user_data;
  CHECK(logprob <= 0);
  collected->tokens[collected->num_tokens++] = token;
  return collected->cancel_after != 0 && collected->num_tokens >= collected->cancel_after;
}

static void TestGeneration(nemotron_engine* engine) {
  const int32_t prompt[] = {1, 300, 500};
  nemotron_sequence sequence;
  nemotron_generation_result result = {.size = sizeof(result)};
  nemotron_generation_options options;
  static Collected first, second;
  nemotron_generation_options_init(&options);
  options.max_new_tokens = 20;
  options.ignore_eos = 1;
  options.on_text = OnText;
  options.on_token = OnToken;
  options.user_data = &first;
  CHECK_OK(nemotron_sequence_create(engine, &sequence));
  CHECK_OK(nemotron_generate(engine, sequence, prompt, 3, &options, &result));
  CHECK(result.finish == NEMOTRON_FINISH_LENGTH);
  CHECK(result.num_tokens == 20 && first.num_tokens == 20 && result.num_prompt_tokens == 3);
  CHECK(first.text_bytes > 4);
  CHECK_OK(nemotron_sequence_release(engine, sequence));

  // The plan's default is greedy, so the same comes again; a stop string ends it.
  char stop_text[4] = {0};
  memcpy(stop_text, first.text + first.text_bytes / 2, 3);
  const char* const stop[] = {stop_text};
  options.stop = stop;
  options.num_stop = 1;
  options.user_data = &second;
  CHECK_OK(nemotron_sequence_create(engine, &sequence));
  CHECK_OK(nemotron_generate(engine, sequence, prompt, 3, &options, &result));
  CHECK(result.finish == NEMOTRON_FINISH_STOP);
  CHECK(memcmp(first.text, second.text, second.text_bytes) == 0);
  CHECK(strstr(second.text, stop_text) == NULL);
  CHECK_OK(nemotron_sequence_release(engine, sequence));

  memset(&second, 0, sizeof(second));
  second.cancel_after = 4;
  options.num_stop = 0;
  CHECK_OK(nemotron_sequence_create(engine, &sequence));
  CHECK_OK(nemotron_generate(engine, sequence, prompt, 3, &options, &result));
  CHECK(result.finish == NEMOTRON_FINISH_CANCELLED && result.num_tokens == 4);

  nemotron_sampling_options sampling;
  nemotron_sampling_options_init(&sampling, NULL);
  CHECK(sampling.temperature == 1.0 && sampling.top_p == 1.0);
  sampling.top_p = 7;
  options.sampling = &sampling;
  CHECK_FAILS(nemotron_generate(engine, sequence, prompt, 3, &options, NULL), NEMOTRON_INVALID_ARGUMENT, "top_p is 7");
  CHECK_FAILS(nemotron_generate(engine, sequence, NULL, 3, NULL, NULL), NEMOTRON_INVALID_ARGUMENT, "prompt is NULL");
  CHECK_FAILS(nemotron_generate(engine, sequence, NULL, 0, NULL, NULL), NEMOTRON_INVALID_ARGUMENT, "no tokens");
  CHECK_OK(nemotron_sequence_release(engine, sequence));
}

static void TestSampler(void) {
  const float logits[] = {0, 3, 1, 2};
  const int32_t history[] = {1, 1};
  nemotron_sampling_options options;
  nemotron_sampler* sampler = NULL;
  int32_t token = -1;
  float logprob = 1;
  nemotron_sampling_options_init(&options, NULL);
  options.temperature = 0;
  options.repetition_penalty = 2;
  CHECK_OK(nemotron_sampler_create(&options, &sampler));
  CHECK_OK(nemotron_sampler_sample(sampler, logits, 4, NULL, 0, &token, &logprob));
  CHECK(token == 1);
  CHECK(fabsf(logprob - -0.4401897f) < 1e-5f);  // 3 - log(1 + e + e^2 + e^3)
  CHECK_OK(nemotron_sampler_sample(sampler, logits, 4, history, 2, &token, NULL));
  CHECK(token == 3);
  CHECK_FAILS(nemotron_sampler_sample(sampler, logits, 0, NULL, 0, &token, NULL), NEMOTRON_INVALID_ARGUMENT,
              "vocab_size");
  nemotron_sampler_free(sampler);
  options.min_p = -1;
  CHECK_FAILS(nemotron_sampler_create(&options, &sampler), NEMOTRON_INVALID_ARGUMENT, "min_p is -1");
}

int main(int argc, char** argv) {
  CHECK(argc == 3);  // c_api_test PLAN SESSION
  program = argv[0];
  CHECK(nemotron_api_version() == NEMOTRON_API_VERSION_MAJOR * 1000 + NEMOTRON_API_VERSION_MINOR);
  CHECK(strcmp(nemotron_last_error(), "") == 0);
  CHECK(strcmp(nemotron_status_name(NEMOTRON_DATA_LOSS), "data loss") == 0);
  TestPlan(argv[1]);
  nemotron_engine* engine = LoadEngine(argv[1]);
  TestText(engine);
  TestSequences(engine, argv[2]);
  TestGeneration(engine);
  TestSampler();
  nemotron_engine_free(engine);
  nemotron_engine_free(NULL);
  puts("all checks passed");
  return 0;
}
