#ifndef TESTS_TOOLS_PTXSIM_DRIVER_DRIVER_FIXTURE_H_
#define TESTS_TOOLS_PTXSIM_DRIVER_DRIVER_FIXTURE_H_

#include <cuda.h>
#include <dlfcn.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <string>
#include <vector>

namespace nemotron::ptxsim {

/// A function of the simulator's libcuda.so.1, opened as a program opens a driver.
inline void* FindSymbol(const char* name) {
  static void* const library = dlopen(PTXSIM_LIBRARY, RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    ADD_FAILURE() << dlerror();
    std::abort();
  }
  void* symbol = dlsym(library, name);
  if (symbol == nullptr) {
    ADD_FAILURE() << dlerror();
    std::abort();
  }
  return symbol;
}

#define PTXSIM_STRING_INNER(text) #text
#define PTXSIM_STRING(text) PTXSIM_STRING_INNER(text)
/// `CU(cuMemAlloc)(...)` calls what cuda.h makes of the name, here cuMemAlloc_v2.
#define CU(name) (*reinterpret_cast<decltype(&name)>(FindSymbol(PTXSIM_STRING(name))))

/// The header of a module, for the text behind it.
inline std::string Ptx(const std::string& text) { return ".version 9.0\n.target sm_90\n.address_size 64\n" + text; }

/// c[i] = a[i] + b[i] for i < n.
inline const char kAddKernel[] = R"(
.visible .entry add(.param .u64 a, .param .u64 b, .param .u64 c, .param .u32 n)
{
  .reg .pred %p<2>;
  .reg .b32 %r<6>;
  .reg .f32 %f<4>;
  .reg .b64 %rd<12>;
  ld.param.u64 %rd1, [a];
  ld.param.u64 %rd2, [b];
  ld.param.u64 %rd3, [c];
  ld.param.u32 %r1, [n];
  mov.u32 %r2, %ctaid.x;
  mov.u32 %r3, %ntid.x;
  mov.u32 %r4, %tid.x;
  mad.lo.s32 %r5, %r2, %r3, %r4;
  setp.ge.s32 %p1, %r5, %r1;
  @%p1 bra $done;
  cvta.to.global.u64 %rd4, %rd1;
  cvta.to.global.u64 %rd5, %rd2;
  cvta.to.global.u64 %rd6, %rd3;
  mul.wide.s32 %rd7, %r5, 4;
  add.s64 %rd8, %rd4, %rd7;
  add.s64 %rd9, %rd5, %rd7;
  add.s64 %rd10, %rd6, %rd7;
  ld.global.f32 %f1, [%rd8];
  ld.global.f32 %f2, [%rd9];
  add.f32 %f3, %f1, %f2;
  st.global.f32 [%rd10], %f3;
$done:
  ret;
}
)";

/// Writes a value to an address.
inline const char kStoreKernel[] = R"(
.visible .entry store(.param .u64 to, .param .u32 value)
{
  .reg .b32 %r<2>;
  .reg .b64 %rd<2>;
  ld.param.u64 %rd1, [to];
  ld.param.u32 %r1, [value];
  st.global.u32 [%rd1], %r1;
  ret;
}
)";

/// The primary context of a device with 64 MB, current on this thread, fresh for each test.
class DriverTest : public testing::Test {
 protected:
  void SetUp() override {
    setenv("PTXSIM_MEMORY_MB", "64", /*overwrite=*/1);
    ASSERT_EQ(CU(cuInit)(0), CUDA_SUCCESS);
    ASSERT_EQ(CU(cuDevicePrimaryCtxRetain)(&context_, 0), CUDA_SUCCESS);
    ASSERT_EQ(CU(cuCtxSetCurrent)(context_), CUDA_SUCCESS);
  }
  void TearDown() override {
    EXPECT_EQ(CU(cuCtxSetCurrent)(nullptr), CUDA_SUCCESS);
    EXPECT_EQ(CU(cuDevicePrimaryCtxRelease)(0), CUDA_SUCCESS);
  }

  static CUfunction Load(const std::string& text, const char* name) {
    CUmodule module = nullptr;
    CUfunction function = nullptr;
    EXPECT_EQ(CU(cuModuleLoadData)(&module, Ptx(text).c_str()), CUDA_SUCCESS);
    EXPECT_EQ(CU(cuModuleGetFunction)(&function, module, name), CUDA_SUCCESS);
    return function;
  }

  static CUdeviceptr Allocate(size_t size_bytes) {
    CUdeviceptr address = 0;
    EXPECT_EQ(CU(cuMemAlloc)(&address, size_bytes), CUDA_SUCCESS);
    return address;
  }
  template <typename T>
  static CUdeviceptr Upload(const std::vector<T>& values) {
    const CUdeviceptr address = Allocate(values.size() * sizeof(T));
    EXPECT_EQ(CU(cuMemcpyHtoD)(address, values.data(), values.size() * sizeof(T)), CUDA_SUCCESS);
    return address;
  }
  template <typename T>
  static std::vector<T> Download(CUdeviceptr address, size_t count) {
    std::vector<T> values(count);
    EXPECT_EQ(CU(cuMemcpyDtoH)(values.data(), address, count * sizeof(T)), CUDA_SUCCESS);
    return values;
  }

  static CUstream NewStream(unsigned int flags = CU_STREAM_NON_BLOCKING) {
    CUstream stream = nullptr;
    EXPECT_EQ(CU(cuStreamCreate)(&stream, flags), CUDA_SUCCESS);
    return stream;
  }
  static CUevent NewEvent(unsigned int flags = CU_EVENT_DEFAULT) {
    CUevent event = nullptr;
    EXPECT_EQ(CU(cuEventCreate)(&event, flags), CUDA_SUCCESS);
    return event;
  }

  /// One thread.
  static CUresult Launch(CUfunction function, CUstream stream, std::vector<void*> arguments) {
    return CU(cuLaunchKernel)(function, 1, 1, 1, 1, 1, 1, 0, stream, arguments.data(), nullptr);
  }
  static CUresult LaunchStore(CUfunction store, CUstream stream, CUdeviceptr to, uint32_t value) {
    return Launch(store, stream, {&to, &value});
  }

  CUcontext context_ = nullptr;
};

}  // namespace nemotron::ptxsim

#endif  // TESTS_TOOLS_PTXSIM_DRIVER_DRIVER_FIXTURE_H_
