#ifndef TOOLS_PTXSIM_DRIVER_OPERATION_H_
#define TOOLS_PTXSIM_DRIVER_OPERATION_H_

#include <cuda.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <variant>
#include <vector>

namespace nemotron::ptxsim {

class Driver;
struct ContextState;

struct KernelOperation {
  CUfunction function;
  std::array<uint32_t, 3> grid, block;
  uint32_t dynamic_shared_bytes;
  std::vector<std::byte> parameters;  ///< a copy of the arguments
};

enum class CopyKind : uint8_t { kHostToHost, kHostToDevice, kDeviceToHost, kDeviceToDevice };

struct CopyOperation {
  CopyKind kind;
  uint64_t to, from;  ///< addresses of the host or the device
  size_t size_bytes;
};

struct FillOperation {
  CUdeviceptr to;
  uint32_t value;
  int element_bytes;
  size_t count;
};

struct HostOperation {
  CUhostFn function;
  void* user;
};

/// A piece of work that a stream takes: executed at once, or kept as a node of a graph.
using Operation = std::variant<KernelOperation, CopyOperation, FillOperation, HostOperation>;

/// Does it, in order with all else. A launch in which something was found leaves its error with the context.
CUresult Execute(Driver& driver, ContextState& context, const Operation& operation);

/// Executes the work, or records it if the stream is being captured.
CUresult Submit(Driver& driver, ContextState& context, CUstream stream, Operation operation);

/// What a launch must meet before it is executed or recorded.
CUresult CheckKernel(Driver& driver, const KernelOperation& kernel);

}  // namespace nemotron::ptxsim

#endif  // TOOLS_PTXSIM_DRIVER_OPERATION_H_
