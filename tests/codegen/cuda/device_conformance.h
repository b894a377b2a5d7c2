#ifndef TESTS_CODEGEN_CUDA_DEVICE_CONFORMANCE_H_
#define TESTS_CODEGEN_CUDA_DEVICE_CONFORMANCE_H_

#include <cstdint>
#include <memory>
#include <ostream>
#include <span>
#include <string>
#include <vector>

#include "mlir/IR/BuiltinOps.h"
#include "runtime/engine/engine.h"

namespace nemotron::codegen {

/// A tensor of the checkpoint that a case reads: normal random numbers of this deviation around `mean`, or `values`.
struct TestWeight {
  std::string name, dtype;  ///< "f32", "bf16" or "f8E4M3FN"
  std::vector<int64_t> shape;
  float deviation = 1, mean = 0;
  std::vector<float> values = {};
};

/// Ops between an embedding of random numbers, which gives %x [T, input_columns], and the rows that are asked for,
/// taken of %y [T, output_columns]. One module, compiled for each device: what the CPU computes, whose kernels are
/// tested against the reference, is what others must.
struct ConformanceCase {
  std::string name;
  int64_t input_columns, output_columns;
  std::vector<TestWeight> weights;  ///< each is there as %NAME
  std::string states;               ///< nemotron.state lines
  std::string body;
  /// Of a difference, in shares of the largest absolute value of all outputs.
  double tolerance;
  /// Numbers of %x in place of random ones.
  struct Entry {
    int64_t position, column;
    float value;
  };
  std::vector<Entry> entries = {};
  /// The embeddings, [output_columns, input_columns]; empty: random.
  std::vector<float> table = {};
  bool depends_on_step = false;  ///< by definition: the one thing that may
};

inline void PrintTo(const ConformanceCase& test, std::ostream* stream) { *stream << test.name; }

/// The tokens of a case. The first `vocab_size` differ, so that each stands for a position.
std::vector<int32_t> ConformanceTokens(int64_t count, int64_t vocab_size);

/// The cases of all kernels.
std::vector<ConformanceCase> ConformanceCases();

/// Compiles the case for `target`, "cpu" or "cuda", with `architectures`, into `path`; fails the test if it does not
/// compile.
void CompileCase(const ConformanceCase& test, const std::string& target, const std::vector<std::string>& architectures,
                 const std::string& path);

}  // namespace nemotron::codegen

#endif  // TESTS_CODEGEN_CUDA_DEVICE_CONFORMANCE_H_
