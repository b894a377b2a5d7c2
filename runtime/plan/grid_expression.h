#ifndef RUNTIME_PLAN_GRID_EXPRESSION_H_
#define RUNTIME_PLAN_GRID_EXPRESSION_H_

#include <cstdint>
#include <string_view>
#include <vector>

#include "runtime/base/status.h"

namespace nemotron::runtime {

/// What grids depend on.
struct GridShape {
  int64_t tokens = 0;     ///< T
  int64_t sequences = 0;  ///< S
  int64_t rows = 0;       ///< R
  int64_t sampled = 0;    ///< A, rows that the device answers with a token: R, or 0 in a step that asks for logits
  int64_t longest = 0;    ///< L, the most new tokens that one sequence brings; 1 in a step of decode
  int64_t context = 0;    ///< C, at least the most tokens that a sequence has after the step
};

/// The size of a grid as text, e.g. `ceil(T/64)*24`, or `T<=16 ? 36 : 0`.
///
///   expression = sum [("<=" | ">") sum "?" expression ":" expression]
///   sum        = product {"+" product}
///   product    = atom {"*" atom}
///   atom       = number | "T" | "S" | "R" | "A" | "L" | "C" | "ceil" "(" sum "/" number ")" | "(" expression ")"
///
/// Spaces are free, numbers are below 2^31. Values are not negative; one that leaves 63 bits saturates.
class GridExpression {
 public:
  /// kInvalidArgument with what was found, where, and what was expected.
  static StatusOr<GridExpression> Parse(std::string_view text);

  int64_t Evaluate(const GridShape& shape) const;

 private:
  friend class GridParser;
  enum class Op : uint8_t {
    kNumber,
    kTokens,
    kSequences,
    kRows,
    kSampled,
    kLongest,
    kContext,
    kAdd,
    kMultiply,
    kCeilDivide,
    kSelectUpTo
  };
  struct Node {
    Op op;
    int64_t number = 0;               // kNumber
    int left = -1, right = -1;        // operands, earlier nodes; kSelectUpTo compares them,
    int if_true = -1, if_false = -1;  // and takes one of these
  };
  int64_t Value(int node, const GridShape& shape) const;

  std::vector<Node> nodes_;  // the last one is the result
};

}  // namespace nemotron::runtime

#endif  // RUNTIME_PLAN_GRID_EXPRESSION_H_
