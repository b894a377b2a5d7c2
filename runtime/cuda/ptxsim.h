#ifndef RUNTIME_CUDA_PTXSIM_H_
#define RUNTIME_CUDA_PTXSIM_H_

#include <stdint.h>

/// What the simulator's libcuda.so.1 exports beside the driver API. A program finds these with dlsym in the library it
/// opened; a real driver does not have them.
#ifdef __cplusplus
extern "C" {
#endif

/// Counters of one launch or of several added up; sim/report.h explains them.
typedef struct PtxsimCounters {
  uint64_t instructions[8];  ///< memory, float, double, integer, special, conversion, tensor, control
  uint64_t tensor_multiply_adds;
  uint64_t global_load_bytes, global_store_bytes;
  uint64_t global_load_sectors, global_load_ideal_sectors;
  uint64_t global_store_sectors, global_store_ideal_sectors;
  uint64_t distinct_load_sectors, distinct_store_sectors;
  uint64_t shared_wavefronts, shared_ideal_wavefronts;
} PtxsimCounters;

/// One launch that has ended. Strings live as long as the call. The driver API may not be used in it: its functions
/// return CUDA_ERROR_NOT_PERMITTED.
typedef void (*PtxsimLaunchCallback)(void* user, const char* kernel, const uint32_t grid[3], const uint32_t block[3],
                                     const PtxsimCounters* counters);

/// From now on `callback` is told of each launch when it has ended, in order; null: nobody.
void ptxsimSetLaunchCallback(PtxsimLaunchCallback callback, void* user);

/// The text of all findings since the process began, one a line; "" if there are none. Lives until the next call.
const char* ptxsimFindings(void);

#ifdef __cplusplus
}
#endif

#endif  // RUNTIME_CUDA_PTXSIM_H_
