#ifndef RUNTIME_NEMOTRON_H_
#define RUNTIME_NEMOTRON_H_

/// The C interface of the Nemotron runtime: load a plan, make an engine, run sequences.
///
/// Handles. `nemotron_plan`, `nemotron_engine` and `nemotron_sampler` are opaque; whoever gets one frees it with the
/// matching function, `nemotron_..._free`, which takes NULL. A sequence is a number; it belongs to its engine and ends
/// with `nemotron_sequence_release` or with the engine.
///
/// Status. Functions that can fail return a `nemotron_status`; on failure no out parameter is written, except where the
/// function says so, and `nemotron_last_error` has the message. Passing NULL where it is not allowed gives
/// NEMOTRON_INVALID_ARGUMENT. Nothing here aborts or throws.
///
/// Threads. Plans are immutable: any number of threads may use one. An engine, its sequences and a sampler are used by
/// one thread at a time; different engines are independent. `nemotron_last_error` is per thread.
///
/// Growth. Structs with a `size` field grow at their end; set `size` by the struct's `_init` function (or to sizeof).
/// Fields that a caller's older struct lacks have their defaults.

#include <stddef.h>
#include <stdint.h>

#if defined(__cplusplus)
extern "C" {
#endif

#if defined(NEMOTRON_C_BUILD)
#define NEMOTRON_API __attribute__((visibility("default")))
#else
#define NEMOTRON_API
#endif

/// Version of this interface. The first number changes when a caller must be changed, the second when something is
/// added.
#define NEMOTRON_API_VERSION_MAJOR 1
#define NEMOTRON_API_VERSION_MINOR 0

typedef struct nemotron_plan nemotron_plan;
typedef struct nemotron_engine nemotron_engine;
typedef struct nemotron_sampler nemotron_sampler;
/// Names a sequence of an engine; never used again within that engine.
typedef int64_t nemotron_sequence;

/// What became of a call. The values are those of canonical status codes.
typedef enum nemotron_status {
  NEMOTRON_OK = 0,
  NEMOTRON_CANCELLED = 1,
  NEMOTRON_INVALID_ARGUMENT = 3,    ///< the call makes no sense
  NEMOTRON_NOT_FOUND = 5,           ///< no such file or sequence
  NEMOTRON_RESOURCE_EXHAUSTED = 8,  ///< no memory, slot, page or room left; nothing has changed
  NEMOTRON_FAILED_PRECONDITION = 9,
  NEMOTRON_UNIMPLEMENTED = 12,  ///< a plan that this build cannot run
  NEMOTRON_INTERNAL = 13,
  NEMOTRON_UNAVAILABLE = 14,
  NEMOTRON_DATA_LOSS = 15  ///< a damaged file
} nemotron_status;

/// The version of the library: major * 1000 + minor. Compare it with the macros above.
NEMOTRON_API int32_t nemotron_api_version(void);

/// The message of this thread's last failure: what, where, found and expected. "" if there was none. Valid until the
/// thread's next failing call.
NEMOTRON_API const char* nemotron_last_error(void);

/// "ok", "invalid argument", ... Static.
NEMOTRON_API const char* nemotron_status_name(nemotron_status status);

/* --- Plans --- */

typedef struct nemotron_plan_info {
  size_t size;
  uint64_t vocab_size;
  uint64_t hidden_size;
  uint32_t num_layers;
  int32_t bos_token_id;  ///< -1: none
  uint64_t max_position_embeddings;
  uint64_t num_parameters;
  int64_t weight_bytes;
  int64_t state_bytes_per_sequence;  ///< constant-size state
  int64_t kv_bytes_per_token;
  const char* architecture;   ///< lives as long as the plan
  const char* name;           ///< "" if the plan has none; lives as long as the plan
  const char* chat_template;  ///< Jinja, "" if the plan has none; lives as long as the plan
  int32_t has_tokenizer;      ///< 0 or 1
} nemotron_plan_info;

/// Maps and checks a plan file. `verify`: whether checksums of the weights are compared too, 1 always, 0 never, -1 for
/// files up to 256 MiB. NEMOTRON_NOT_FOUND, NEMOTRON_DATA_LOSS, NEMOTRON_UNIMPLEMENTED.
NEMOTRON_API nemotron_status nemotron_plan_load(const char* path, int32_t verify, nemotron_plan** out_plan);

/// Lets go of a plan. Engines that were made from it keep it alive for themselves.
NEMOTRON_API void nemotron_plan_free(nemotron_plan* plan);

/// Compares the checksums of all weights with their bytes. NEMOTRON_DATA_LOSS names the first that differs.
NEMOTRON_API nemotron_status nemotron_plan_verify(const nemotron_plan* plan);

/// `out_info->size` must be set.
NEMOTRON_API nemotron_status nemotron_plan_get_info(const nemotron_plan* plan, nemotron_plan_info* out_info);

/* --- Engines --- */

/// How much room an engine makes. Zeros mean: choose from the plan and the machine.
typedef struct nemotron_engine_options {
  size_t size;
  const char* device;           ///< "auto" (NULL too), "cpu", "cuda" or "cuda:N"; auto: a GPU if the plan is for one
                                ///< and there is one, else the CPU
  int32_t num_threads;          ///< 0: the cores that this process may use
  int64_t max_sequences;        ///< 0: 8
  int64_t max_tokens_per_step;  ///< 0: 512; longer prompts are cut into chunks
  int64_t max_rows_per_step;    ///< rows of logits at once; 0: max(max_sequences, 32)
  int64_t context_tokens;       ///< over all sequences; 0: the plan's, lowered to what memory allows
  int64_t page_tokens;          ///< multiple of 16; 0: 64
  int64_t memory_limit_bytes;   ///< 0: what is available
  /// Called while weights are read from disk; may be NULL.
  void (*on_load)(void* user_data, int64_t bytes_done, int64_t bytes_total);
  void* user_data;
  int32_t pin_threads;  ///< not 0: bind each to a core, the calling one too, until the engine goes
} nemotron_engine_options;

/// Sets all fields to their defaults.
NEMOTRON_API void nemotron_engine_options_init(nemotron_engine_options* options);

typedef struct nemotron_memory_report {
  size_t size;
  int64_t weight_bytes;     ///< on the CPU mapped from the file and shared between processes, unless it is for GPUs
  int64_t slot_bytes;       ///< constant-size state of all sequences
  int64_t page_bytes;       ///< KV cache
  int64_t workspace_bytes;  ///< activations and scratch
  int64_t total_bytes;
  int64_t available_bytes;  ///< what there is, or the limit that was set
  int64_t num_slots;
  int64_t num_pages;
  int64_t page_tokens;
} nemotron_memory_report;

/// What `nemotron_engine_load` would need, without loading. `options` may be NULL for the defaults.
NEMOTRON_API nemotron_status nemotron_engine_plan_memory(const nemotron_plan* plan,
                                                         const nemotron_engine_options* options,
                                                         nemotron_memory_report* out_report);

/// Makes an engine. `options` may be NULL. NEMOTRON_RESOURCE_EXHAUSTED if memory does not suffice.
NEMOTRON_API nemotron_status nemotron_engine_load(const nemotron_plan* plan, const nemotron_engine_options* options,
                                                  nemotron_engine** out_engine);

/// Ends an engine with all its sequences.
NEMOTRON_API void nemotron_engine_free(nemotron_engine* engine);

NEMOTRON_API nemotron_status nemotron_engine_get_memory(const nemotron_engine* engine,
                                                        nemotron_memory_report* out_report);

/* --- Text --- */

/// Token ids of `text` (UTF-8, `text_bytes` long). `add_special`: 1 to add BOS and the like as the model wants (no
/// second BOS to a text that begins with one), 0 not to. `out_count` always receives the number of ids; if it exceeds
/// `capacity`, nothing is written to `out_tokens` (which may be NULL for capacity 0) and the result is
/// NEMOTRON_RESOURCE_EXHAUSTED. NEMOTRON_FAILED_PRECONDITION if the plan has no tokenizer.
NEMOTRON_API nemotron_status nemotron_tokenize(const nemotron_engine* engine, const char* text, size_t text_bytes,
                                               int32_t add_special, int32_t* out_tokens, size_t capacity,
                                               size_t* out_count);

/// Text of token ids, UTF-8 with a final 0, special tokens left out. `out_bytes` always receives its length without the
/// 0; if capacity is not above it, the result is NEMOTRON_RESOURCE_EXHAUSTED as above.
NEMOTRON_API nemotron_status nemotron_detokenize(const nemotron_engine* engine, const int32_t* tokens,
                                                 size_t num_tokens, char* out_text, size_t capacity, size_t* out_bytes);

/* --- Sequences --- */

/// An empty sequence. NEMOTRON_RESOURCE_EXHAUSTED if all are in use.
NEMOTRON_API nemotron_status nemotron_sequence_create(nemotron_engine* engine, nemotron_sequence* out_sequence);
/// A sequence with the same tokens and state, independent from then on.
NEMOTRON_API nemotron_status nemotron_sequence_fork(nemotron_engine* engine, nemotron_sequence sequence,
                                                    nemotron_sequence* out_sequence);
NEMOTRON_API nemotron_status nemotron_sequence_release(nemotron_engine* engine, nemotron_sequence sequence);
/// The tokens that the sequence has taken in; owned by the engine, valid until the sequence changes.
NEMOTRON_API nemotron_status nemotron_sequence_tokens(const nemotron_engine* engine, nemotron_sequence sequence,
                                                      const int32_t** out_tokens, size_t* out_count);
/// Writes tokens and state to a file, which replaces `path` only when complete.
NEMOTRON_API nemotron_status nemotron_sequence_save(const nemotron_engine* engine, nemotron_sequence sequence,
                                                    const char* path);
/// A sequence that continues where the saved one was, with the same bits. NEMOTRON_INVALID_ARGUMENT if the file belongs
/// to another plan, NEMOTRON_DATA_LOSS if it is damaged.
NEMOTRON_API nemotron_status nemotron_sequence_restore(nemotron_engine* engine, const char* path,
                                                       nemotron_sequence* out_sequence);

/* --- Steps --- */

/// Which rows of logits a part of a step gives back.
typedef enum nemotron_logits {
  NEMOTRON_LOGITS_NONE = 0,
  NEMOTRON_LOGITS_LAST = 1,
  NEMOTRON_LOGITS_ALL = 2
} nemotron_logits;

/// One sequence's part of a step. This struct does not grow.
typedef struct nemotron_step_entry {
  nemotron_sequence sequence;
  const int32_t* tokens;  ///< new tokens; read during the call only
  size_t num_tokens;      ///< at least 1
  nemotron_logits logits;
} nemotron_step_entry;

/// Brings new tokens to any number of different sequences. `out_logits` receives the rows asked for, in the order of
/// the entries, as float32 [rows, vocab_size]: owned by the engine, valid until its next step, generation or end. Both
/// out parameters may be NULL if no row is asked for. On any error nothing has changed for any sequence.
NEMOTRON_API nemotron_status nemotron_step(nemotron_engine* engine, const nemotron_step_entry* entries,
                                           size_t num_entries, const float** out_logits, size_t* out_num_rows);

/* --- Sampling --- */

/// How the next token is chosen; applied in this order.
typedef struct nemotron_sampling_options {
  size_t size;
  double repetition_penalty;  ///< 1: none
  double temperature;         ///< 0: greedy
  int64_t top_k;              ///< 0: off
  double top_p;               ///< 1: off
  double min_p;               ///< 0: off
  uint64_t seed;
} nemotron_sampling_options;

/// Sets the defaults of the plan; those of the library (temperature 1, all filters off) for NULL.
NEMOTRON_API void nemotron_sampling_options_init(nemotron_sampling_options* options, const nemotron_plan* plan);

/// A random stream. `options` may be NULL.
NEMOTRON_API nemotron_status nemotron_sampler_create(const nemotron_sampling_options* options,
                                                     nemotron_sampler** out_sampler);
NEMOTRON_API void nemotron_sampler_free(nemotron_sampler* sampler);
/// Draws from `logits` [vocab_size]. `history` [history_count] are the tokens that the repetition penalty looks at.
/// `out_logprob` (may be NULL) receives the natural logarithm of the model's probability, before any option.
NEMOTRON_API nemotron_status nemotron_sampler_sample(nemotron_sampler* sampler, const float* logits, size_t vocab_size,
                                                     const int32_t* history, size_t history_count, int32_t* out_token,
                                                     float* out_logprob);

/* --- Generation --- */

typedef enum nemotron_finish {
  NEMOTRON_FINISH_LENGTH = 0,     ///< max_new_tokens
  NEMOTRON_FINISH_EOS = 1,        ///< the model ended the text
  NEMOTRON_FINISH_STOP = 2,       ///< a stop string
  NEMOTRON_FINISH_CANCELLED = 3,  ///< a callback said so
  NEMOTRON_FINISH_CONTEXT = 4     ///< no pages left
} nemotron_finish;

typedef struct nemotron_generation_options {
  size_t size;
  const nemotron_sampling_options* sampling;  ///< NULL: the plan's defaults
  int64_t max_new_tokens;
  const char* const* stop;  ///< text ends before the first of these; may span tokens
  size_t num_stop;
  int32_t ignore_eos;  ///< 0 or 1
  /// Callbacks run on the calling thread and may be NULL; they must not use the engine. A result other than 0 cancels.
  /// New text: complete UTF-8, no final 0, never part of a stop string; valid during the call.
  int32_t (*on_text)(void* user_data, const char* text, size_t text_bytes);
  int32_t (*on_token)(void* user_data, int32_t token, float logprob);
  int32_t (*on_prefill)(void* user_data, int64_t tokens_done, int64_t tokens_total);
  void* user_data;
} nemotron_generation_options;

/// max_new_tokens 128, everything else off.
NEMOTRON_API void nemotron_generation_options_init(nemotron_generation_options* options);

typedef struct nemotron_generation_result {
  size_t size;
  nemotron_finish finish;
  int64_t num_prompt_tokens;
  int64_t num_tokens;  ///< generated, the end token included
  double prefill_ms;
  double decode_ms;  ///< after the first token
} nemotron_generation_result;

/// Feeds `prompt` to the sequence and generates. The last generated token is not fed back: to continue, pass it in
/// front of the next prompt. `options` may be NULL; `out_result` may be NULL, else its `size` must be set.
NEMOTRON_API nemotron_status nemotron_generate(nemotron_engine* engine, nemotron_sequence sequence,
                                               const int32_t* prompt, size_t num_prompt_tokens,
                                               const nemotron_generation_options* options,
                                               nemotron_generation_result* out_result);

#if defined(__cplusplus)
}  // extern "C"
#endif

#endif  // RUNTIME_NEMOTRON_H_
