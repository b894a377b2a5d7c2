#ifndef RUNTIME_CPU_KERNEL_H_
#define RUNTIME_CPU_KERNEL_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "runtime/base/dtype.h"
#include "runtime/base/status.h"

/// The contract between the CPU device, which runs the dispatches of a plan, and the kernels of docs/kernels.md.
/// A kernel is looked up by name and *prepared* once a dispatch: there every shape, dtype and parameter of the
/// untrusted plan is checked. `Run` then trusts them and can't fail.
namespace nemotron::runtime::cpu {

class ThreadPool;

enum class Space : uint8_t { kToken = 0, kRow = 1 };
enum class Layout : uint8_t { kRowMajor = 0, kPanel = 1 };
enum class StateKind : uint8_t { kKvCache = 0, kConv = 1, kSsm = 2, kRecent = 3 };

/// An activation [units, columns] or a column view of one. Unit u lies at `arena(space) + base_bytes + u * row_bytes`.
struct BufferArgument {
  DType dtype;
  Space space;
  int64_t columns;     ///< of the view
  int64_t row_bytes;   ///< distance of rows
  int64_t base_bytes;  ///< offset in the arena of the space, view column included
};

/// A weight, mapped read only; lives as long as the plan.
struct WeightArgument {
  DType dtype;
  Layout layout;
  std::vector<int64_t> shape;       ///< logical
  std::span<const std::byte> data;  ///< size is checked against shape, dtype and layout by the loader
};

/// Where a state lies: in the slot of a sequence at `offset_bytes`; for kKvCache in each page at
/// `offset_bytes * page_tokens`, 2 * num_kv_heads * KvCacheHeadDim(head_dim) * page_tokens elements whose order is the
/// kernel's affair.
struct StateArgument {
  StateKind kind;
  DType dtype;
  std::vector<int64_t> shape;  ///< as in plan.fbs
  int64_t offset_bytes;
};

/// Scratch and arenas begin at multiples of 64 bytes; parts of scratch do too if their sizes are rounded up.
constexpr int64_t RoundUp64(int64_t bytes) { return (bytes + 63) / 64 * 64; }

using ParameterValue = std::variant<int64_t, double, bool, std::string>;

/// Everything a dispatch of the plan says, with names as in docs/kernels.md.
struct DispatchArguments {
  std::map<std::string, BufferArgument, std::less<>> inputs, outputs;
  std::map<std::string, WeightArgument, std::less<>> weights;
  std::map<std::string, StateArgument, std::less<>> states;
  std::map<std::string, ParameterValue, std::less<>> parameters;
  int64_t max_tokens = 0;   ///< T never exceeds this
  int64_t max_rows = 0;     ///< R never exceeds this
  int64_t vocab_size = 0;   ///< token ids are checked to be below this before a step
  int64_t page_tokens = 0;  ///< tokens a page
  int num_threads = 1;

  /// max_tokens or max_rows.
  int64_t max_units(Space space) const { return space == Space::kToken ? max_tokens : max_rows; }
};

/// One sequence's share of a step.
struct SequenceStep {
  int64_t first_token;                ///< row of its first new token in [T, ...]
  int64_t num_tokens;                 ///< new tokens, at least 1
  int64_t position;                   ///< tokens already in the sequence: the position of its first new token
  std::byte* slot;                    ///< constant-size state; zeroed when position is 0
  std::span<std::byte* const> pages;  ///< page i holds positions [i * page_tokens, (i + 1) * page_tokens); enough for
                                      ///< position + num_tokens
};

/// A step: T tokens of S sequences, rows of a sequence contiguous and in the order of `sequences`.
struct StepContext {
  std::span<const int32_t> tokens;          ///< [T]
  std::span<const SequenceStep> sequences;  ///< [S]
  std::span<const int64_t> output_rows;     ///< [R], ascending token rows whose logits are asked for
  std::byte* token_arena;                   ///< 64-byte aligned
  std::byte* row_arena;                     ///< 64-byte aligned
  std::byte* scratch;                       ///< 64-byte aligned, at least the largest ScratchBytes() of the program
  ThreadPool* pool;
  /// Sees what enters the second matrix of each expert, [F] a row, which is in no buffer. One thread, rows of an expert
  /// in the order of their tokens. Null: nobody asks.
  const std::function<void(int64_t expert, std::span<const float> row)>* expert_hidden = nullptr;

  int64_t num_tokens() const { return static_cast<int64_t>(tokens.size()); }
  int64_t num_rows() const { return static_cast<int64_t>(output_rows.size()); }
  /// T or R.
  int64_t units(Space space) const { return space == Space::kToken ? num_tokens() : num_rows(); }
  /// First element of unit `unit` of a buffer.
  template <typename T>
  T* At(const BufferArgument& buffer, int64_t unit) const {
    std::byte* arena = buffer.space == Space::kToken ? token_arena : row_arena;
    return reinterpret_cast<T*>(arena + buffer.base_bytes + unit * buffer.row_bytes);
  }
};

/// A dispatch whose arguments were checked. Immutable; `Run` is called by one thread and uses the pool of the step.
class PreparedDispatch {
 public:
  virtual ~PreparedDispatch() = default;
  /// Bytes of `StepContext::scratch` that Run may use, at most, for any step within max_tokens.
  virtual int64_t ScratchBytes() const { return 0; }
  virtual void Run(const StepContext& step) const = 0;
  /// Bytes read and written in memory and multiply-adds for a step of T tokens; for profiles and benchmarks.
  virtual int64_t WeightBytes() const { return 0; }
};

/// Checks a dispatch and readies it. Errors say which argument or parameter is missing, surplus or misshapen, with the
/// shape found and expected; unknown kernels are kUnimplemented.
StatusOr<std::unique_ptr<PreparedDispatch>> Prepare(std::string_view kernel, const DispatchArguments& arguments);

/// The names of all kernels, sorted.
std::vector<std::string_view> KernelNames();

}  // namespace nemotron::runtime::cpu

#endif  // RUNTIME_CPU_KERNEL_H_
