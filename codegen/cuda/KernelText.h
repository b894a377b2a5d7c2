//===- KernelText.h - the text that specialises a kernel -------------------------------------------------------*- C++
//-*-===//
#ifndef CODEGEN_CUDA_KERNELTEXT_H
#define CODEGEN_CUDA_KERNELTEXT_H

#include <optional>
#include <string>

#include "dialects/Plan/IR/Target.h"

namespace nemotron::codegen {

/// The columns of a buffer that an argument of a dispatch means.
struct BufferShape {
  mlir::Type element;
  int64_t columns;
  int64_t stride;    ///< elements from a row to the next
  int64_t alignment; ///< elements that the first column of each row is a multiple of, as a power of two up to 64 bytes
  bool isRowSpace;   ///< counts R, not T
};

/// Writes the end of a kernel's source: a `Config` with what is known when the plan is compiled, and entries that call
/// the templates of the body with it. Each entry is a launch; its arguments are taken from the dispatch by name.
///
///   KernelText text(dispatch, "elementwise");
///   text.type("Input", input.element).constant("kColumns", input.columns);
///   text.launch("Relu2", "ActivateRows<Config>", {"T", "1", "1"}, 128, 0, {"input input", "output output"});
///   return text.finish("f32_192");
class KernelText {
public:
  /// `body` is the name of a file in codegen/cuda/kernels, without its ending.
  KernelText(plan::DispatchOp dispatch, llvm::StringRef body) : dispatch(dispatch), body(body) {}

  /// The input or output called `name`; null element if there is none.
  BufferShape shape(llvm::StringRef name) const;
  bool hasWeight(llvm::StringRef name) const { return dispatch.getWeights().contains(name); }
  /// Null if there is none.
  mlir::RankedTensorType weightType(llvm::StringRef name) const;
  mlir::RankedTensorType stateType(llvm::StringRef name) const;
  int64_t integer(llvm::StringRef parameter) const;
  double number(llvm::StringRef parameter) const;
  bool flag(llvm::StringRef parameter) const;
  llvm::StringRef string(llvm::StringRef parameter) const;

  // Members of Config.
  KernelText &constant(llvm::StringRef name, int64_t value);
  KernelText &floatConstant(llvm::StringRef name, double value); ///< rounded to F32
  KernelText &type(llvm::StringRef name, mlir::Type element);
  /// kNAME = ENUM::kVALUE.
  KernelText &enumerator(llvm::StringRef name, llvm::StringRef type, llvm::StringRef value);
  /// Any text at the level of Config's members, or before it.
  KernelText &member(const llvm::Twine &line);
  KernelText &declaration(const llvm::Twine &line);

  /// A launch of `call`, a template of the body with its template arguments. `arguments` are those of `call` in order,
  /// "input NAME" and the like; one that the dispatch does not have is passed as nullptr or 0. `grid` are expressions
  /// (runtime/plan/grid_expression.h). `residentBlocks`: how many a multiprocessor has registers for, at least; null:
  /// as ptxas likes.
  KernelText &launch(llvm::StringRef function, llvm::StringRef call, llvm::ArrayRef<std::string> grid, int64_t threads,
                     int64_t sharedBytes, llvm::ArrayRef<llvm::StringRef> arguments,
                     std::optional<int64_t> residentBlocks = std::nullopt);

  /// Bytes that the launches of a dispatch share, for the argument "scratch": an expression like a grid's.
  KernelText &scratch(const llvm::Twine &bytes);

  /// `suffix` tells shapes and types in the kernel's name.
  plan::KernelSpec finish(const llvm::Twine &suffix) const;

  /// The C++ type of an element, e.g. "bf16".
  static llvm::StringRef cppType(mlir::Type element);
  /// A number as an F32 literal, exactly: "0x1.99999ap-4f".
  static std::string floatLiteral(double value);

private:
  /// The parameter of an entry for `argument`: its C++ type, empty if the dispatch has none.
  std::string parameterType(llvm::StringRef source, llvm::StringRef name) const;

  mutable plan::DispatchOp dispatch; ///< a handle, whose accessors are not const
  std::string body;
  std::string declarations, members, entries, scratchBytes;
  llvm::SmallVector<mlir::Attribute, 2> launches;
};

} // namespace nemotron::codegen

#endif // CODEGEN_CUDA_KERNELTEXT_H
