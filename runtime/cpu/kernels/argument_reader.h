#ifndef RUNTIME_CPU_KERNELS_ARGUMENT_READER_H_
#define RUNTIME_CPU_KERNELS_ARGUMENT_READER_H_

#include <fmt/format.h>

#include <cstdint>
#include <initializer_list>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "runtime/base/status.h"
#include "runtime/cpu/kernel.h"

namespace nemotron::runtime::cpu {

/// Takes the arguments of a dispatch out by name and checks them. The first problem is kept; after it, readers return
/// defaults, so that a kernel states all it needs in a row and asks once, with Finish. Problems: an argument that is
/// missing, surplus, of another type, layout or shape; each message names kernel and argument, what was found and what
/// was expected.
class ArgumentReader {
 public:
  ArgumentReader(std::string_view kernel, const DispatchArguments& arguments)
      : kernel_(kernel), arguments_(arguments) {}

  /// Activations of one of `dtypes`, with `columns` columns unless that is -1.
  BufferArgument Input(std::string_view name, int64_t columns = -1,
                       std::initializer_list<DType> dtypes = {DType::kF32});
  BufferArgument Output(std::string_view name, int64_t columns = -1,
                        std::initializer_list<DType> dtypes = {DType::kF32});

  /// A weight of `shape`, where -1 means any positive size, of one of `dtypes`.
  WeightArgument Weight(std::string_view name, std::vector<int64_t> shape, Layout layout = Layout::kRowMajor,
                        std::initializer_list<DType> dtypes = {DType::kF32});
  /// The same for a vector [size] of F32; nullptr if there is none.
  const float* OptionalVector(std::string_view name, int64_t size);
  const float* Vector(std::string_view name, int64_t size);

  /// A state of one of `dtypes`.
  StateArgument State(std::string_view name, StateKind kind, std::vector<int64_t> shape,
                      std::initializer_list<DType> dtypes = {DType::kF32});

  /// An integer in [1, 2^31].
  int64_t Size(std::string_view name);
  double Float(std::string_view name);
  bool Bool(std::string_view name);
  std::string String(std::string_view name);
  /// Parameter `activation`: whether it is "relu2"; else it is "none".
  bool IsRelu2();

  bool HasInput(std::string_view name) const { return arguments_.inputs.contains(name); }
  bool HasWeight(std::string_view name) const { return arguments_.weights.contains(name); }
  /// Whether there is such a weight, in layout Panel.
  bool HasPanel(std::string_view name) const {
    const auto found = arguments_.weights.find(name);
    return found != arguments_.weights.end() && found->second.layout == Layout::kPanel;
  }

  /// States a relation between arguments.
  template <typename... Args>
  void Check(bool holds, fmt::format_string<Args...> format, Args&&... args) {
    if (!holds) {
      Fail(fmt::format(format, std::forward<Args>(args)...));
    }
  }

  bool ok() const { return status_.ok(); }
  /// The first problem, or that of an argument nobody asked for.
  Status Finish();

 private:
  void Fail(const std::string& message);
  BufferArgument Buffer(std::string_view kind, const std::map<std::string, BufferArgument, std::less<>>& buffers,
                        std::string_view name, int64_t columns, std::initializer_list<DType> dtypes);
  template <typename T>
  T Parameter(std::string_view name, std::string_view type);

  std::string_view kernel_;
  const DispatchArguments& arguments_;
  std::set<std::string, std::less<>> used_;
  Status status_;
};

/// "[64, 128]".
std::string ShapeText(const std::vector<int64_t>& shape);

}  // namespace nemotron::runtime::cpu

#endif  // RUNTIME_CPU_KERNELS_ARGUMENT_READER_H_
