// The primary context, contexts of a program's own, and which one a thread uses.

#include <cuda.h>

#include <memory>
#include <vector>

#include "tools/ptxsim/driver/driver.h"

using namespace nemotron::ptxsim;

extern "C" {

CUresult CUDAAPI cuDevicePrimaryCtxRetain(CUcontext* context, CUdevice device) {
  return Guarded([&](Driver& driver) {
    if (context == nullptr) {
      return CUDA_ERROR_INVALID_VALUE;
    }
    if (device != 0) {
      return CUDA_ERROR_INVALID_DEVICE;
    }
    if (driver.primary_retains == 0) {
      auto state = std::make_unique<ContextState>();
      state->is_primary = true;
      driver.primary_context = driver.contexts.Add(std::move(state));
    }
    ++driver.primary_retains;
    *context = driver.primary_context;
    return CUDA_SUCCESS;
  });
}

CUresult CUDAAPI cuDevicePrimaryCtxRelease(CUdevice device) {
  return Guarded([&](Driver& driver) {
    if (device != 0) {
      return CUDA_ERROR_INVALID_DEVICE;
    }
    if (driver.primary_retains == 0) {
      return CUDA_ERROR_INVALID_CONTEXT;
    }
    if (--driver.primary_retains == 0) {
      driver.DestroyContext(driver.primary_context);
      driver.primary_context = nullptr;
    }
    return CUDA_SUCCESS;
  });
}

CUresult CUDAAPI cuDevicePrimaryCtxGetState(CUdevice device, unsigned int* flags, int* active) {
  return Guarded([&](Driver& driver) {
    if (flags == nullptr || active == nullptr) {
      return CUDA_ERROR_INVALID_VALUE;
    }
    if (device != 0) {
      return CUDA_ERROR_INVALID_DEVICE;
    }
    *flags = 0;
    *active = driver.primary_retains > 0;
    return CUDA_SUCCESS;
  });
}

CUresult CUDAAPI cuCtxCreate(CUcontext* context, CUctxCreateParams* params, unsigned int flags, CUdevice device) {
  return Guarded([&](Driver& driver) {
    if (context == nullptr || (flags & ~unsigned{CU_CTX_FLAGS_MASK}) != 0) {
      return CUDA_ERROR_INVALID_VALUE;
    }
    if (device != 0) {
      return CUDA_ERROR_INVALID_DEVICE;
    }
    if (params != nullptr && (params->numExecAffinityParams != 0 || params->cigParams != nullptr)) {
      return CUDA_ERROR_NOT_SUPPORTED;
    }
    auto state = std::make_unique<ContextState>();
    state->flags = flags;
    *context = driver.contexts.Add(std::move(state));
    Driver::ContextStack().push_back(*context);
    return CUDA_SUCCESS;
  });
}

CUresult CUDAAPI cuCtxDestroy(CUcontext context) {
  return Guarded([&](Driver& driver) {
    const ContextState* state = driver.contexts.Find(context);
    if (state == nullptr || state->is_primary) {
      return CUDA_ERROR_INVALID_CONTEXT;
    }
    driver.DestroyContext(context);
    std::vector<CUcontext>& stack = Driver::ContextStack();
    if (!stack.empty() && stack.back() == context) {
      stack.pop_back();
    }
    return CUDA_SUCCESS;
  });
}

CUresult CUDAAPI cuCtxSetCurrent(CUcontext context) {
  return Guarded([&](Driver& driver) {
    std::vector<CUcontext>& stack = Driver::ContextStack();
    if (context != nullptr && driver.contexts.Find(context) == nullptr) {
      return CUDA_ERROR_INVALID_CONTEXT;
    }
    if (!stack.empty()) {
      stack.pop_back();
    }
    if (context != nullptr) {
      stack.push_back(context);
    }
    return CUDA_SUCCESS;
  });
}

CUresult CUDAAPI cuCtxGetCurrent(CUcontext* context) {
  return Guarded([&](Driver& driver) {
    if (context == nullptr) {
      return CUDA_ERROR_INVALID_VALUE;
    }
    *context = driver.current_context();
    return CUDA_SUCCESS;
  });
}

CUresult CUDAAPI cuCtxPushCurrent(CUcontext context) {
  return Guarded([&](Driver& driver) {
    if (driver.contexts.Find(context) == nullptr) {
      return CUDA_ERROR_INVALID_CONTEXT;
    }
    Driver::ContextStack().push_back(context);
    return CUDA_SUCCESS;
  });
}

CUresult CUDAAPI cuCtxPopCurrent(CUcontext* context) {
  return Guarded([&](Driver&) {
    std::vector<CUcontext>& stack = Driver::ContextStack();
    if (stack.empty()) {
      return CUDA_ERROR_INVALID_CONTEXT;
    }
    if (context != nullptr) {
      *context = stack.back();
    }
    stack.pop_back();
    return CUDA_SUCCESS;
  });
}

CUresult CUDAAPI cuCtxSynchronize() {
  return InContext([](Driver& driver, ContextState&) { return CheckNoCapture(driver); });
}

CUresult CUDAAPI cuCtxSynchronize_v2(CUcontext context) {
  if (context == nullptr) {
    return cuCtxSynchronize();
  }
  return Guarded([&](Driver& driver) {
    const ContextState* state = driver.contexts.Find(context);
    if (state == nullptr) {
      return CUDA_ERROR_INVALID_CONTEXT;
    }
    return state->error != CUDA_SUCCESS ? state->error : CheckNoCapture(driver);
  });
}

CUresult CUDAAPI cuCtxGetDevice(CUdevice* device) {
  return InContext([&](Driver&, ContextState&) {
    if (device == nullptr) {
      return CUDA_ERROR_INVALID_VALUE;
    }
    *device = 0;
    return CUDA_SUCCESS;
  });
}

CUresult CUDAAPI cuCtxGetDevice_v2(CUdevice* device, CUcontext context) {
  if (context == nullptr) {
    return cuCtxGetDevice(device);
  }
  return Guarded([&](Driver& driver) {
    if (device == nullptr) {
      return CUDA_ERROR_INVALID_VALUE;
    }
    if (driver.contexts.Find(context) == nullptr) {
      return CUDA_ERROR_INVALID_CONTEXT;
    }
    *device = 0;
    return CUDA_SUCCESS;
  });
}

CUresult CUDAAPI cuCtxGetStreamPriorityRange(int* least, int* greatest) {
  return InContext([&](Driver&, ContextState&) {
    if (least != nullptr) {
      *least = 0;
    }
    if (greatest != nullptr) {
      *greatest = kGreatestStreamPriority;
    }
    return CUDA_SUCCESS;
  });
}

}  // extern "C"
