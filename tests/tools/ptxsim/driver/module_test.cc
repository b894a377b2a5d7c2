#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <vector>

#include "tests/tools/ptxsim/driver/driver_fixture.h"

namespace nemotron::ptxsim {
namespace {

using testing::HasSubstr;

class ModuleTest : public DriverTest {
 protected:
  /// The code of loading `image`, and what stands in the error log.
  static std::pair<CUresult, std::string> LoadWithLog(const std::string& image, size_t log_size = 256) {
    std::vector<char> log(log_size, '?');
    CUjit_option options[] = {CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES, CU_JIT_ERROR_LOG_BUFFER, CU_JIT_OPTIMIZATION_LEVEL};
    void* values[] = {reinterpret_cast<void*>(log_size), log.data(), reinterpret_cast<void*>(4)};
    CUmodule module = nullptr;
    const CUresult result = CU(cuModuleLoadDataEx)(&module, image.c_str(), 3, options, values);
    return {result, std::string(log.data(), reinterpret_cast<uintptr_t>(values[0]))};
  }
};

TEST_F(ModuleTest, ErrorsAreLogged) {
  const auto [result, log] = LoadWithLog(Ptx(".entry k() {\n  nonsense\n}"));
  EXPECT_EQ(result, CUDA_ERROR_INVALID_PTX);
  EXPECT_EQ(log, "line 6: found '}', expected an operand");
  EXPECT_EQ(LoadWithLog(Ptx(".entry k() {\n  nonsense\n}"), 8).second, "line 6:") << "cut to the buffer";
  const auto [good, nothing] = LoadWithLog(Ptx(kAddKernel));
  EXPECT_EQ(good, CUDA_SUCCESS);
  EXPECT_EQ(nothing, "");
}

TEST_F(ModuleTest, UnknownInstructionsAreNotLoaded) {
  const auto [result, log] = LoadWithLog(Ptx(".entry k() {\n  frobnicate;\n}"));
  EXPECT_EQ(result, CUDA_ERROR_INVALID_PTX);
  EXPECT_THAT(log, HasSubstr("line 5"));
  EXPECT_THAT(log, HasSubstr("frobnicate"));
}

TEST_F(ModuleTest, OnlyPtx) {
  EXPECT_EQ(LoadWithLog("\x7f"
                        "ELF\x02\x01")
                .first,
            CUDA_ERROR_NO_BINARY_FOR_GPU);
  EXPECT_EQ(LoadWithLog("\x50\xed\x55\xba\x01").first, CUDA_ERROR_NO_BINARY_FOR_GPU);
  EXPECT_EQ(LoadWithLog("").first, CUDA_ERROR_INVALID_PTX);
}

// The device is of capability 9.0.
TEST_F(ModuleTest, TargetsThatTheDeviceRuns) {
  const auto load = [](const std::string& version, const std::string& target) {
    return LoadWithLog(".version " + version + "\n.target " + target + "\n.address_size 64\n").first;
  };
  EXPECT_EQ(load("9.0", "sm_80"), CUDA_SUCCESS);
  EXPECT_EQ(load("9.0", "sm_90a"), CUDA_SUCCESS);
  EXPECT_EQ(load("9.0", "sm_90"), CUDA_SUCCESS);
  EXPECT_EQ(load("9.0", "sm_100"), CUDA_ERROR_NO_BINARY_FOR_GPU);
  EXPECT_EQ(load("9.0", "sm_100a"), CUDA_ERROR_NO_BINARY_FOR_GPU);
  EXPECT_EQ(load("9.0", "sm_80a"), CUDA_ERROR_NO_BINARY_FOR_GPU);
  EXPECT_EQ(load("9.0", "sm_100f"), CUDA_ERROR_NO_BINARY_FOR_GPU);
  EXPECT_EQ(load("9.1", "sm_90"), CUDA_ERROR_UNSUPPORTED_PTX_VERSION);
  EXPECT_EQ(load("10.0", "sm_90"), CUDA_ERROR_UNSUPPORTED_PTX_VERSION);
}

TEST_F(ModuleTest, UnsupportedOptions) {
  CUjit_option option = CU_JIT_GLOBAL_SYMBOL_NAMES;
  void* value = nullptr;
  CUmodule module = nullptr;
  EXPECT_EQ(CU(cuModuleLoadDataEx)(&module, Ptx("").c_str(), 1, &option, &value), CUDA_ERROR_NOT_SUPPORTED);
  EXPECT_EQ(CU(cuModuleLoadData)(&module, nullptr), CUDA_ERROR_INVALID_VALUE);
}

TEST_F(ModuleTest, FunctionsAndVariables) {
  CUmodule module = nullptr;
  const std::string text = Ptx(".visible .global .align 4 .u32 g[2] = {41, 42};\n.func f() { ret; }") + kStoreKernel;
  ASSERT_EQ(CU(cuModuleLoadData)(&module, text.c_str()), CUDA_SUCCESS);
  CUfunction first = nullptr, second = nullptr;
  EXPECT_EQ(CU(cuModuleGetFunction)(&first, module, "store"), CUDA_SUCCESS);
  EXPECT_EQ(CU(cuModuleGetFunction)(&second, module, "store"), CUDA_SUCCESS);
  EXPECT_EQ(first, second);
  EXPECT_EQ(CU(cuModuleGetFunction)(&second, module, "f"), CUDA_ERROR_NOT_FOUND) << "not an entry";
  EXPECT_EQ(CU(cuModuleGetFunction)(&second, module, "x"), CUDA_ERROR_NOT_FOUND);
  CUdeviceptr address = 0, base = 0;
  size_t size = 0;
  ASSERT_EQ(CU(cuModuleGetGlobal)(&address, &size, module, "g"), CUDA_SUCCESS);
  EXPECT_EQ(size, 8u);
  EXPECT_EQ(Download<int>(address, 2), (std::vector<int>{41, 42}));
  EXPECT_EQ(CU(cuMemGetAddressRange)(&base, &size, address + 4), CUDA_SUCCESS);
  EXPECT_EQ(base, address);
  EXPECT_EQ(CU(cuMemFree)(address), CUDA_ERROR_INVALID_VALUE) << "the module's";
  EXPECT_EQ(CU(cuModuleGetGlobal)(&address, &size, module, "h"), CUDA_ERROR_NOT_FOUND);
  EXPECT_EQ(LaunchStore(first, nullptr, address + 4, 7), CUDA_SUCCESS);
  EXPECT_EQ(Download<int>(address, 2), (std::vector<int>{41, 7}));

  EXPECT_EQ(CU(cuModuleUnload)(module), CUDA_SUCCESS);
  EXPECT_EQ(CU(cuModuleUnload)(module), CUDA_ERROR_INVALID_HANDLE);
  EXPECT_EQ(CU(cuModuleGetFunction)(&second, module, "store"), CUDA_ERROR_INVALID_HANDLE);
  EXPECT_EQ(LaunchStore(first, nullptr, address, 7), CUDA_ERROR_INVALID_HANDLE);
  EXPECT_EQ(CU(cuMemGetAddressRange)(&base, &size, address), CUDA_ERROR_NOT_FOUND);
}

TEST_F(ModuleTest, AttributesOfFunctions) {
  const CUfunction function = Load(R"(.entry k(.param .u32 a) .maxntid 64, 2 {
.shared .align 4 .b8 s[1024];
.reg .b32 %r<2>;
ld.shared.u32 %r1, [s];
ret; })",
                                   "k");
  const auto get = [&](CUfunction_attribute attribute) {
    int value = -1;
    EXPECT_EQ(CU(cuFuncGetAttribute)(&value, attribute, function), CUDA_SUCCESS);
    return value;
  };
  EXPECT_EQ(get(CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK), 128);
  EXPECT_EQ(get(CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES), 1024);
  EXPECT_EQ(get(CU_FUNC_ATTRIBUTE_PTX_VERSION), 90);
  EXPECT_EQ(get(CU_FUNC_ATTRIBUTE_BINARY_VERSION), 90);
  EXPECT_EQ(get(CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES), 47 * 1024);
  const auto set = [&](int value) {
    return CU(cuFuncSetAttribute)(function, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, value);
  };
  EXPECT_EQ(set(226 * 1024), CUDA_SUCCESS);
  EXPECT_EQ(get(CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES), 226 * 1024);
  EXPECT_EQ(set(227 * 1024), CUDA_ERROR_INVALID_VALUE) << "static memory counts";
  EXPECT_EQ(set(-1), CUDA_ERROR_INVALID_VALUE);
  EXPECT_EQ(CU(cuFuncSetAttribute)(function, CU_FUNC_ATTRIBUTE_NUM_REGS, 1), CUDA_ERROR_INVALID_VALUE);
  int value = 0;
  EXPECT_EQ(CU(cuFuncGetAttribute)(&value, CU_FUNC_ATTRIBUTE_NUM_REGS, nullptr), CUDA_ERROR_INVALID_HANDLE);
}

TEST_F(ModuleTest, Occupancy) {
  const CUfunction function = Load(kStoreKernel, "store");
  const auto blocks = [&](int threads, size_t shared) {
    int count = -1;
    EXPECT_EQ(CU(cuOccupancyMaxActiveBlocksPerMultiprocessor)(&count, function, threads, shared), CUDA_SUCCESS);
    return count;
  };
  EXPECT_EQ(blocks(32, 0), 32) << "blocks of an SM";
  EXPECT_EQ(blocks(256, 0), 8) << "2048 threads";
  EXPECT_EQ(blocks(257, 0), 7) << "9 warps of 64";
  EXPECT_EQ(blocks(128, 75 * 1024), 3) << "228 KiB, of which each block takes 76";
  EXPECT_EQ(blocks(128, 227 * 1024), 1);
  EXPECT_EQ(blocks(128, 228 * 1024), 0);
  EXPECT_EQ(blocks(1025, 0), 0);
  int count = 0;
  EXPECT_EQ(CU(cuOccupancyMaxActiveBlocksPerMultiprocessor)(&count, nullptr, 32, 0), CUDA_ERROR_INVALID_HANDLE);
}

}  // namespace
}  // namespace nemotron::ptxsim
