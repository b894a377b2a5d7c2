#ifndef RUNTIME_PLAN_STEP_TABLES_H_
#define RUNTIME_PLAN_STEP_TABLES_H_

/// What kernels of target "cuda" know of a step. Read by the host compiler and, as text, by NVRTC, which has no
/// standard headers: integers are spelled out.
namespace nemotron::runtime {

/// One sequence's share of a step.
struct SequenceEntry {
  char* slot;          ///< constant-size state
  char* const* pages;  ///< page i holds positions from i * page_tokens on
  long long position;  ///< tokens it held before the step
  int first_token;     ///< row of its first new token in the step
  int num_tokens;      ///< new tokens, at least 1
};

/// How the token of a row is drawn, in a step that asks for tokens instead of logits (sampling.h).
struct SampleEntry {
  float scale;                    ///< kScale / temperature; 0: greedy, the lowest id of the largest logit
  int top_k;                      ///< 0: all
  unsigned long long top_p;       ///< times 2^64; 0: all
  unsigned long long min_weight;  ///< a token's weight is at least this
  unsigned long long random;      ///< 64 random bits
};

/// What came of it. As long as the row of a buffer, so that those of a step are an array.
struct alignas(64) SampledRow {
  unsigned long long sum;  ///< of all weights at temperature 1
  float maximum;           ///< of the logits; -infinity if all are that, or no numbers: then the token is 0
  float logit;             ///< of the token
  int token;
};

/// The step, passed to kernels by value; tables lie in device memory.
struct StepTables {
  const int* tokens;               ///< [T]
  const int* token_sequences;      ///< [T], index of the sequence of a token
  const int* output_rows;          ///< [R], ascending
  const SequenceEntry* sequences;  ///< [S]
  int num_tokens;
  int num_sequences;
  int num_rows;
  int page_tokens;
  const SampleEntry* samples;  ///< [R]; none in a step that asks for logits
};

}  // namespace nemotron::runtime

#endif  // RUNTIME_PLAN_STEP_TABLES_H_
