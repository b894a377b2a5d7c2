#ifndef TOOLS_PTXSIM_PTX_DECLARATIONS_H_
#define TOOLS_PTXSIM_PTX_DECLARATIONS_H_

#include <cstdint>
#include <vector>

#include "runtime/base/status.h"
#include "tools/ptxsim/ptx/module.h"
#include "tools/ptxsim/ptx/token_reader.h"

namespace nemotron::ptxsim {

/// Declarations of variables and parameters (ISA, section 5.4), which stand in modules, bodies and parameter lists.
class DeclarationParser {
 public:
  explicit DeclarationParser(TokenReader& reader) : reader_(reader) {}

  /// What follows the state space, up to and with the semicolon: `.align 4 .b8 a[2][8] = {{1, 2}, {3}}, b;`. Appends to
  /// `variables`.
  runtime::Status ParseVariables(Space space, bool is_extern, std::vector<Variable>& variables);

  /// `(.param .u64 a, .param .align 8 .b8 b[32])`, with offsets by natural alignment.
  runtime::StatusOr<std::vector<Parameter>> ParseParameters();

  /// ".u32" and the like.
  runtime::StatusOr<Type> ParseType();

 private:
  struct Layout {
    Type type;
    int64_t align_bytes;
    int64_t element_bytes;  // of all elements of a vector
    int vector_size = 1;
  };
  /// Extents of an array, none of a scalar; kUnknownExtent for the first of `a[]`.
  using Extents = std::vector<int64_t>;

  runtime::StatusOr<Layout> ParseLayout();
  runtime::StatusOr<int64_t> ParseAlign();
  runtime::StatusOr<Extents> ParseExtents();
  runtime::StatusOr<int64_t> SizeBytes(const Layout& layout, const Extents& extents);
  runtime::Status ParsePointerAttributes();

  runtime::Status ParseInitializer(const Layout& layout, const Extents& extents, Variable& variable);
  /// The list of a dimension, from `{` to `}`; its first scalar lies `offset` bytes into the variable.
  runtime::StatusOr<int64_t> ParseInitializerList(const Layout& layout, const Extents& extents, size_t dimension,
                                                  int64_t offset, Variable& variable);
  runtime::Status ParseInitialValue(Type type, int64_t offset, Variable& variable);
  runtime::Status ReserveInitializer(int64_t size_bytes, Variable& variable);

  TokenReader& reader_;
  int64_t initialized_bytes_ = 0;
};

}  // namespace nemotron::ptxsim

#endif  // TOOLS_PTXSIM_PTX_DECLARATIONS_H_
