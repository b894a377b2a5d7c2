#ifndef TESTS_TOOLS_PTXSIM_SIM_SIMULATOR_H_
#define TESTS_TOOLS_PTXSIM_SIM_SIMULATOR_H_

#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "tools/ptxsim/ptx/parser.h"
#include "tools/ptxsim/sim/launch.h"

namespace nemotron::ptxsim {

constexpr std::string_view kHeader = ".version 9.0\n.target sm_90a\n.address_size 64\n";

/// A module of PTX text, decoded, with memory of its own.
class Simulator {
 public:
  explicit Simulator(std::string_view text, GpuModel gpu = {}) {
    auto module = ParsePtx(std::string(kHeader) + std::string(text));
    status_ = module.ok() ? runtime::OkStatus() : module.status();
    if (module.ok()) {
      auto loaded = LoadModule(std::move(*module), gpu, memory_);
      status_ = loaded.ok() ? runtime::OkStatus() : loaded.status();
      module_ = loaded.ok() ? std::move(*loaded) : nullptr;
    }
  }

  const runtime::Status& status() const { return status_; }
  GlobalMemory& memory() { return memory_; }
  const LoadedModule& module() const { return *module_; }
  Checks checks;

  template <typename T>
  DeviceAddress Upload(const std::vector<T>& values) {
    const DeviceAddress address = Allocate(values.size() * sizeof(T));
    EXPECT_TRUE(memory_.CopyFromHost(address, values.data(), static_cast<int64_t>(values.size() * sizeof(T))).ok());
    return address;
  }
  DeviceAddress Allocate(size_t size_bytes) { return memory_.Allocate(static_cast<int64_t>(size_bytes)).value(); }
  template <typename T>
  std::vector<T> Download(DeviceAddress address, size_t count) {
    std::vector<T> values(count);
    EXPECT_TRUE(memory_.CopyToHost(values.data(), address, static_cast<int64_t>(count * sizeof(T))).ok());
    return values;
  }

  struct Shape {
    std::array<uint32_t, 3> grid = {1, 1, 1}, block = {32, 1, 1};
    int64_t dynamic_shared_bytes = 0;
  };

  /// Launches entry "k".
  template <typename... Args>
  runtime::StatusOr<LaunchReport> TryRun(const Shape& shape, Args... args) {
    std::vector<std::byte> parameters;
    (Append(parameters, args), ...);
    if (!status_.ok()) {
      return status_;
    }
    return Launch(*module_, "k", {shape.grid, shape.block, shape.dynamic_shared_bytes, parameters}, checks, memory_);
  }
  template <typename... Args>
  LaunchReport Run(const Shape& shape, Args... args) {
    auto report = TryRun(shape, args...);
    EXPECT_TRUE(report.ok()) << report.status().message();
    return report.ok() ? *report : LaunchReport{};
  }

 private:
  template <typename T>
  static void Append(std::vector<std::byte>& parameters, T value) {
    parameters.resize((parameters.size() + sizeof(T) - 1) / sizeof(T) * sizeof(T));
    const auto* bytes = reinterpret_cast<const std::byte*>(&value);
    parameters.insert(parameters.end(), bytes, bytes + sizeof(T));
  }

  GlobalMemory memory_ = GlobalMemory(int64_t{1} << 30);
  runtime::Status status_;
  std::unique_ptr<LoadedModule> module_;
};

/// Three source operands of a test of one instruction.
using Sources = std::array<uint64_t, 3>;

/// Runs `code` once for each of `inputs`, a lane each. It finds the sources in %a, %b, %c (32 bits), %ha, %hb, %hc
/// (16), %da, %db, %dc (64), has %p, %q and %t, %dt, %ht to spare, and leaves its result in %dr. A result in %r (32
/// bits) or %hr (16) is zero-extended when `result` says so.
inline std::vector<uint64_t> Evaluate(const std::string& code, const std::vector<Sources>& inputs,
                                      std::string_view result = "%r", GpuModel gpu = {}) {
  const std::string widen = result == "%r" ? "cvt.u64.u32 %dr, %r;" : result == "%hr" ? "cvt.u64.u16 %dr, %hr;" : "";
  Simulator simulator(
      R"(.visible .entry k(.param .u64 in, .param .u64 out, .param .u32 n) {
  .reg .b16 %ha, %hb, %hc, %hr, %ht;
  .reg .b32 %a, %b, %c, %r, %t, %i, %n;
  .reg .b64 %da, %db, %dc, %dr, %dt, %in, %out, %at;
  .reg .pred %p, %q, %past;
  mov.u32 %r, %tid.x;
  mov.u32 %i, %ctaid.x;
  mad.lo.u32 %i, %i, 256, %r;
  ld.param.u32 %n, [n];
  setp.ge.u32 %past, %i, %n;
  @%past exit;
  ld.param.u64 %in, [in];
  mad.wide.u32 %at, %i, 24, %in;
  ld.global.u64 %da, [%at];
  ld.global.u64 %db, [%at+8];
  ld.global.u64 %dc, [%at+16];
  cvt.u32.u64 %a, %da;
  cvt.u32.u64 %b, %db;
  cvt.u32.u64 %c, %dc;
  cvt.u16.u32 %ha, %a;
  cvt.u16.u32 %hb, %b;
  cvt.u16.u32 %hc, %c;
)" + code +
          "\n" + widen + R"(
  ld.param.u64 %out, [out];
  mad.wide.u32 %at, %i, 8, %out;
  st.global.u64 [%at], %dr;
  ret;
})",
      gpu);
  EXPECT_TRUE(simulator.status().ok()) << code << ": " << simulator.status().message();
  if (!simulator.status().ok()) {
    return std::vector<uint64_t>(inputs.size());
  }
  const DeviceAddress in = simulator.Upload(inputs), out = simulator.Allocate(8 * inputs.size());
  const auto count = static_cast<uint32_t>(inputs.size());
  const LaunchReport report = simulator.Run({{(count + 255) / 256, 1, 1}, {256, 1, 1}}, in, out, count);
  for (const Finding& finding : report.findings) {
    ADD_FAILURE() << code << ": " << finding.ToString();
  }
  return simulator.Download<uint64_t>(out, inputs.size());
}

/// Evaluates and compares with `expected(a, b, c)` for each input.
template <typename Expected>
void ExpectEach(const std::string& code, const std::vector<Sources>& inputs, std::string_view result,
                Expected expected) {
  const std::vector<uint64_t> found = Evaluate(code, inputs, result);
  for (size_t i = 0; i < inputs.size(); ++i) {
    const auto [a, b, c] = inputs[i];
    const auto want = static_cast<uint64_t>(expected(a, b, c));
    ASSERT_EQ(found[i], want) << std::hex << code << " of " << a << ", " << b << ", " << c << ": found " << found[i]
                              << ", expected " << want;
  }
}

/// All triples of `edges`, and random ones.
inline std::vector<Sources> MixedInputs(const std::vector<uint64_t>& edges, int num_random = 2000) {
  std::vector<Sources> inputs;
  for (uint64_t a : edges) {
    for (uint64_t b : edges) {
      for (uint64_t c : edges) {
        inputs.push_back({a, b, c});
      }
    }
  }
  std::mt19937_64 random(1);
  for (int i = 0; i < num_random; ++i) {
    inputs.push_back({random(), random(), random()});
  }
  return inputs;
}

}  // namespace nemotron::ptxsim

#endif  // TESTS_TOOLS_PTXSIM_SIM_SIMULATOR_H_
