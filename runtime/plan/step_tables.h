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
};

}  // namespace nemotron::runtime

#endif  // RUNTIME_PLAN_STEP_TABLES_H_
