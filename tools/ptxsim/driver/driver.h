#ifndef TOOLS_PTXSIM_DRIVER_DRIVER_H_
#define TOOLS_PTXSIM_DRIVER_DRIVER_H_

#include <cuda.h>

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <new>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "tools/ptxsim/driver/capture.h"
#include "tools/ptxsim/driver/device_model.h"
#include "tools/ptxsim/driver/handle_table.h"
#include "tools/ptxsim/sim/launch.h"
#include "tools/ptxsim/sim/memory.h"

namespace nemotron::ptxsim {

struct ContextState {
  bool is_primary = false;
  unsigned int flags = 0;
  /// Of a launch that failed; every later call returns it.
  CUresult error = CUDA_SUCCESS;
};

struct ModuleState {
  ContextState* context;
  std::unique_ptr<LoadedModule> loaded;
  std::map<std::string, CUfunction> functions;  ///< those asked for
};

struct FunctionState {
  ModuleState* module;
  const Function* function;
  int64_t static_shared_bytes;
  int64_t local_bytes;
  int64_t max_dynamic_shared_bytes;
  int shared_carveout = CU_SHAREDMEM_CARVEOUT_DEFAULT;
};

/// As on GPUs since Pascal: 0, the default, to -5.
inline constexpr int kGreatestStreamPriority = -5;

struct StreamState {
  ContextState* context;
  unsigned int flags;
  int priority;
  std::shared_ptr<Capture> capture;  ///< null unless work is recorded
};

struct EventState {
  ContextState* context;
  unsigned int flags;
  bool recorded = false;
  std::chrono::steady_clock::time_point time;  ///< of the last record
  /// Where in a capture it was last recorded.
  std::shared_ptr<Capture> capture;
  Frontier frontier;
};

struct GraphState {
  std::vector<CUgraphNode> nodes;
};

struct GraphExecState {
  ContextState* context;
  std::vector<Operation> operations;
};

struct DeviceAllocation {
  size_t size_bytes;
  ContextState* context;
  bool is_variable;  ///< of a module, which frees it
};

/// What lies behind the API. One for the process, never destroyed: programs call drivers from their last destructors.
/// Everything is under one lock, which Guarded and InContext take.
class Driver {
 public:
  static Driver& Get();

  CUresult Init();
  bool initialized() const { return memory_ != nullptr; }

  const DeviceModel& device() const { return *options_.model; }
  const Checks& checks() const { return options_.checks; }
  GlobalMemory& memory() { return *memory_; }

  /// Frees what a context owns, and the context.
  void DestroyContext(CUcontext context);
  /// All streams of the capture are normal ones again.
  void EndCapture(const std::shared_ptr<Capture>& capture);
  /// The context that the calling thread uses; null if none. A context that is gone stays current until it is changed.
  CUcontext current_context() const;
  static std::vector<CUcontext>& ContextStack();

  /// The allocation with this byte in it; end() if there is none.
  std::map<CUdeviceptr, DeviceAllocation>::iterator FindAllocation(CUdeviceptr address);
  /// Pinned host memory with this byte in it.
  std::map<uintptr_t, size_t>::iterator FindHostRange(const void* address);

  std::mutex mutex;
  HandleTable<CUcontext, ContextState> contexts;
  HandleTable<CUmodule, ModuleState> modules;
  HandleTable<CUfunction, FunctionState> functions;
  HandleTable<CUstream, StreamState> streams;
  HandleTable<CUevent, EventState> events;
  HandleTable<CUgraph, GraphState> graphs;
  HandleTable<CUgraphNode, GraphNode> graph_nodes;
  HandleTable<CUgraphExec, GraphExecState> graph_execs;

  CUcontext primary_context = nullptr;
  int primary_retains = 0;
  std::map<CUdeviceptr, DeviceAllocation> allocations;  // by first address
  std::map<uintptr_t, size_t> host_ranges;              // allocated or registered, by first address
  std::set<void*> host_allocations;
  std::vector<std::shared_ptr<Capture>> captures;  // active ones

 private:
  DeviceOptions options_;
  std::unique_ptr<GlobalMemory> memory_;
};

/// Whether this thread is in a function that the driver called, where the API may not be used.
bool& InCallback();

/// Runs the body of an API function: takes the lock, asks for cuInit, and lets no exception out.
template <typename Body>
CUresult Guarded(Body body) {
  if (InCallback()) {
    return CUDA_ERROR_NOT_PERMITTED;
  }
  try {
    Driver& driver = Driver::Get();
    const std::lock_guard lock(driver.mutex);
    return driver.initialized() ? body(driver) : CUDA_ERROR_NOT_INITIALIZED;
  } catch (const std::bad_alloc&) {
    return CUDA_ERROR_OUT_OF_MEMORY;
  } catch (...) {
    return CUDA_ERROR_UNKNOWN;
  }
}

/// The same with the current context, whose sticky error comes first.
template <typename Body>
CUresult InContext(Body body) {
  return Guarded([&](Driver& driver) {
    const CUcontext handle = driver.current_context();
    if (handle == nullptr) {
      return CUDA_ERROR_INVALID_CONTEXT;
    }
    ContextState* context = driver.contexts.Find(handle);
    if (context == nullptr) {
      return CUDA_ERROR_CONTEXT_IS_DESTROYED;
    }
    return context->error != CUDA_SUCCESS ? context->error : body(driver, *context);
  });
}

/// The code for the failure of a host call.
CUresult ToResult(const runtime::Status& status);

/// kNotSupported for a stream that is not simulated, kInvalidHandle for what is none. The default stream is null.
CUresult FindStream(Driver& driver, CUstream handle, StreamState*& stream);

/// CUDA_SUCCESS, or why a call that waits or allocates may not be made beside the captures that go on, which it spoils.
CUresult CheckNoCapture(Driver& driver);

}  // namespace nemotron::ptxsim

#endif  // TOOLS_PTXSIM_DRIVER_DRIVER_H_
