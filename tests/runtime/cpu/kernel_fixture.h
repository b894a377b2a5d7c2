#ifndef TESTS_RUNTIME_CPU_KERNEL_FIXTURE_H_
#define TESTS_RUNTIME_CPU_KERNEL_FIXTURE_H_

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <random>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "runtime/cpu/cpu_info.h"
#include "runtime/cpu/kernel.h"
#include "runtime/cpu/thread_pool.h"
#include "runtime/plan/layout.h"
#include "tests/reference/reference.h"

namespace nemotron::runtime::cpu {

using reference::Floats;

/// Added to the seeds of all tests: NEMOTRON_TEST_SEED, or 0. Messages of failures print it.
inline uint32_t BaseSeed() {
  static const uint32_t seed = [] {
    const char* text = std::getenv("NEMOTRON_TEST_SEED");
    return text == nullptr ? 0 : static_cast<uint32_t>(std::strtoul(text, nullptr, 10));
  }();
  return seed;
}

/// Normal values of standard deviation `scale`, the same for a seed on every machine.
inline Floats Random(int64_t size, uint32_t seed, float scale = 1) {
  std::mt19937 random(seed + 1000 * BaseSeed());
  Floats values(size);
  for (float& value : values) {  // the sum of 12 uniform numbers; std::normal_distribution differs between libraries
    double sum = -6;
    for (int i = 0; i < 12; ++i) {
      sum += random() / 4294967296.0;
    }
    value = static_cast<float>(sum) * scale;
  }
  return values;
}

inline Floats RoundBF16(Floats values) {
  for (float& value : values) {
    value = BF16ToF32(F32ToBF16(value));
  }
  return values;
}

/// The state of one sequence over several steps.
struct TestSequence {
  std::vector<std::byte> slot;
  std::deque<std::vector<std::byte>> pages;
  std::vector<std::byte*> page_pointers;
  int64_t position = 0;
};

/// One dispatch of a kernel, its weights and arenas. Buffers are column views of wider rows. Outputs and scratch are
/// NaN before each run, so that what a kernel forgets to write shows; whatever lies outside what it may write (inputs,
/// neighbouring columns and rows, what follows the scratch, other states of the slot and the page) is checked after it.
class KernelFixture {
 public:
  explicit KernelFixture(std::string kernel, int64_t max_tokens = 64, int num_threads = 2)
      : kernel_(std::move(kernel)), pool_(std::make_unique<ThreadPool>(num_threads)) {
    arguments.max_tokens = max_tokens;
    arguments.max_rows = max_tokens;
    arguments.page_tokens = 16;
    arguments.num_threads = num_threads;
    arguments.vocab_size = 1;
  }

  KernelFixture& Input(const std::string& name, int64_t columns, DType dtype = DType::kF32,
                       Space space = Space::kToken) {
    arguments.inputs[name] = AddBuffer(columns, dtype, space);
    return *this;
  }
  KernelFixture& Output(const std::string& name, int64_t columns, DType dtype = DType::kF32,
                        Space space = Space::kToken) {
    arguments.outputs[name] = AddBuffer(columns, dtype, space);
    return *this;
  }
  KernelFixture& Vector(const std::string& name, const Floats& values) {
    return Weight(name, {static_cast<int64_t>(values.size())}, values, DType::kF32, Layout::kRowMajor);
  }
  /// Row major, or packed as layout.h says.
  KernelFixture& Weight(const std::string& name, const std::vector<int64_t>& shape, const Floats& values, DType dtype,
                        Layout layout) {
    const int64_t k = shape.back(), n = shape.size() > 1 ? shape[shape.size() - 2] : 1;
    const int64_t matrices = static_cast<int64_t>(values.size()) / (n * k);
    const int64_t bytes = layout == Layout::kPanel ? PanelMatrixBytes(dtype, n, k) : n * k * SizeOf(dtype);
    auto& data = storage_.emplace_back(matrices * bytes + 64);
    std::byte* base = data.data() + (64 - reinterpret_cast<uintptr_t>(data.data()) % 64) % 64;
    for (int64_t i = 0; i < static_cast<int64_t>(values.size()); ++i) {
      const int64_t row = i / k % n, column = i % k;
      const int64_t index = layout == Layout::kPanel ? PanelElementIndex(dtype, k, row, column) : row * k + column;
      std::byte* to = base + i / (n * k) * bytes + index * SizeOf(dtype);
      StoreAs(dtype, values[i], to);
      if (layout == Layout::kPanel && dtype == DType::kI8) {
        *to ^= std::byte{kI8PanelOffset};
      }
    }
    arguments.weights[name] = {dtype, layout, shape, {base, static_cast<size_t>(matrices * bytes)}};
    return *this;
  }
  KernelFixture& State(const std::string& name, StateKind kind, const std::vector<int64_t>& shape,
                       DType dtype = DType::kF32) {
    int64_t bytes = SizeOf(dtype);
    for (int64_t dim : shape) {
      bytes *= dim;
    }
    if (kind == StateKind::kKvCache) {
      bytes = KvCacheElements(bytes, shape.back());
    }
    int64_t& at = kind == StateKind::kKvCache ? page_bytes_per_token_ : slot_bytes_;
    at += 64;  // something else lies before it
    arguments.states[name] = {kind, dtype, shape, at};
    state_bytes_[name] = bytes;
    at += (bytes + 63) / 64 * 64;
    return *this;
  }
  KernelFixture& Int(const std::string& name, int64_t value) { return Set(name, value); }
  KernelFixture& Float(const std::string& name, double value) { return Set(name, value); }
  KernelFixture& Bool(const std::string& name, bool value) { return Set(name, value); }
  KernelFixture& Text(const std::string& name, std::string value) { return Set(name, std::move(value)); }

  Status Prepare() {
    auto prepared = cpu::Prepare(kernel_, arguments);
    if (!prepared.ok()) {
      return std::move(prepared).status();
    }
    dispatch_ = std::move(*prepared);
    token_arena_ = MakeArena(token_bytes_);
    row_arena_ = MakeArena(row_bytes_);
    scratch_.assign(dispatch_->ScratchBytes() + 128, kGuard);
    return OkStatus();
  }
  /// The message of a Prepare that must fail.
  std::string PrepareError() {
    const Status status = Prepare();
    EXPECT_FALSE(status.ok()) << "was prepared";
    return status.message();
  }

  /// Another number of threads for steps to come; Prepare must follow where a kernel has scratch for each thread.
  void UseThreads(int num_threads) {
    arguments.num_threads = num_threads;
    pool_ = std::make_unique<ThreadPool>(num_threads);
  }

  TestSequence NewSequence() const {
    TestSequence sequence;
    sequence.slot.assign(slot_bytes_ + 192, kGuard);
    for (const auto& [name, state] : arguments.states) {
      if (state.kind != StateKind::kKvCache) {
        std::fill_n(Aligned(sequence.slot) + state.offset_bytes, state_bytes_.at(name), std::byte{0});
      }
    }
    return sequence;
  }

  void SetInput(const std::string& name, int64_t unit, std::span<const float> values) {
    const BufferArgument& buffer = arguments.inputs.at(name);
    for (size_t i = 0; i < values.size(); ++i) {
      const int64_t u = unit + static_cast<int64_t>(i) / buffer.columns;
      StoreAs(buffer.dtype, values[i], Element(buffer, u, static_cast<int64_t>(i) % buffer.columns));
    }
  }

  /// Runs a step in which sequence i brings `counts[i]` tokens; rows of inputs are set before, in the same order.
  void Step(std::vector<TestSequence*> sequences, const std::vector<int64_t>& counts,
            std::vector<int64_t> output_rows = {}, std::vector<int32_t> tokens = {}) {
    std::vector<SequenceStep> steps;
    int64_t total = 0;
    for (size_t i = 0; i < sequences.size(); ++i) {
      TestSequence& sequence = *sequences[i];
      const int64_t page_bytes = page_bytes_per_token_ * arguments.page_tokens;
      while (static_cast<int64_t>(sequence.pages.size()) * arguments.page_tokens < sequence.position + counts[i]) {
        sequence.pages.emplace_back(page_bytes + 192, kNaN);  // what was not stored must not be read
        sequence.page_pointers.push_back(Aligned(sequence.pages.back()));
      }
      steps.push_back({total, counts[i], sequence.position, Aligned(sequence.slot), sequence.page_pointers});
      sequence.position += counts[i];
      total += counts[i];
    }
    tokens.resize(total);
    const auto rows = static_cast<int64_t>(output_rows.size());
    for (const auto& [name, buffer] : arguments.outputs) {
      for (int64_t u = 0; u < (buffer.space == Space::kToken ? total : rows); ++u) {
        std::fill_n(Element(buffer, u, 0), buffer.columns * SizeOf(buffer.dtype), kNaN);
      }
    }
    std::fill_n(Aligned(scratch_), dispatch_->ScratchBytes(), kNaN);
    const std::vector<std::byte> before[2] = {token_arena_, row_arena_};
    StepContext context{
        tokens,      steps,        output_rows, Aligned(token_arena_), Aligned(row_arena_), Aligned(scratch_),
        pool_.get(), expert_hidden};
    dispatch_->Run(context);
    CheckGuards(before, total, rows);
    CheckScratch();
    for (TestSequence* sequence : sequences) {
      CheckStates(*sequence);
    }
  }

  Floats GetOutput(const std::string& name, int64_t units) {
    const BufferArgument& buffer = arguments.outputs.at(name);
    Floats values;
    for (int64_t u = 0; u < units; ++u) {
      for (int64_t c = 0; c < buffer.columns; ++c) {
        values.push_back(LoadAs(buffer.dtype, Element(buffer, u, c)));
      }
    }
    return values;
  }

  DispatchArguments arguments;
  const std::function<void(int64_t expert, std::span<const float> row)>* expert_hidden = nullptr;  ///< of each step

 private:
  static constexpr std::byte kGuard{0xA5};
  static constexpr std::byte kNaN{0xFF};  // four of them are a NaN, two a BF16 NaN, one an E4M3 NaN

  static void StoreAs(DType dtype, float value, std::byte* to) {
    const uint16_t bf16 = F32ToBF16(value);
    const uint8_t code = F32ToCode(dtype, value);
    const int32_t integer = dtype == DType::kI32 ? static_cast<int32_t>(value) : 0;
    const void* from = dtype == DType::kBF16  ? static_cast<const void*>(&bf16)
                       : IsCode(dtype)        ? static_cast<const void*>(&code)
                       : dtype == DType::kI32 ? static_cast<const void*>(&integer)
                                              : &value;
    std::memcpy(to, from, SizeOf(dtype));
  }
  static float LoadAs(DType dtype, const std::byte* from) {
    if (IsCode(dtype)) {
      return CodeToF32(dtype, static_cast<uint8_t>(*from));
    }
    int32_t integer;
    float value;
    std::memcpy(&integer, from, 4);
    std::memcpy(&value, from, 4);
    return dtype == DType::kI32 ? static_cast<float>(integer) : value;
  }

  template <typename T>
  KernelFixture& Set(const std::string& name, T value) {
    arguments.parameters[name] = std::move(value);
    return *this;
  }

  BufferArgument AddBuffer(int64_t columns, DType dtype, Space space) {
    int64_t& at = space == Space::kToken ? token_bytes_ : row_bytes_;
    const int64_t row_bytes = (columns + 3 + 5 + 15) / 16 * 64;  // 3 columns before the view, at least 5 after it
    const BufferArgument buffer{dtype, space, columns, row_bytes, at + 3 * SizeOf(dtype)};
    at += row_bytes * (space == Space::kToken ? arguments.max_tokens : arguments.max_rows) + 64;
    return buffer;
  }
  std::vector<std::byte> MakeArena(int64_t bytes) { return std::vector<std::byte>(bytes + 128, kGuard); }
  static std::byte* Aligned(std::vector<std::byte>& data) {
    return data.data() + (64 - reinterpret_cast<uintptr_t>(data.data()) % 64) % 64;
  }
  std::byte* Element(const BufferArgument& buffer, int64_t unit, int64_t column) {
    return Aligned(buffer.space == Space::kToken ? token_arena_ : row_arena_) + buffer.base_bytes +
           unit * buffer.row_bytes + column * SizeOf(buffer.dtype);
  }

  /// The first byte of `found` that is neither `expected`'s nor lies in a run of `may_change`, pairs of first byte and
  /// number; the size if there is none.
  static int64_t FirstChange(std::vector<std::byte> expected, const std::vector<std::byte>& found,
                             const std::vector<std::pair<int64_t, int64_t>>& may_change) {
    for (const auto& [first, count] : may_change) {
      std::copy_n(found.begin() + first, count, expected.begin() + first);
    }
    return std::mismatch(found.begin(), found.end(), expected.begin()).first - found.begin();
  }

  /// Bytes outside the outputs of the step are what they were.
  void CheckGuards(const std::vector<std::byte>* before, int64_t tokens, int64_t rows) {
    std::vector<std::pair<int64_t, int64_t>> may_change[2];
    std::vector<std::byte>* arenas[2] = {&token_arena_, &row_arena_};
    for (const auto& [name, buffer] : arguments.outputs) {
      const int space = buffer.space == Space::kToken ? 0 : 1;
      for (int64_t u = 0; u < (space == 0 ? tokens : rows); ++u) {
        may_change[space].emplace_back(Element(buffer, u, 0) - arenas[space]->data(),
                                       buffer.columns * SizeOf(buffer.dtype));
      }
    }
    for (int space = 0; space < 2; ++space) {
      const int64_t changed = FirstChange(before[space], *arenas[space], may_change[space]);
      ASSERT_EQ(changed, arenas[space]->size())
          << kernel_ << " wrote outside its outputs, at byte " << changed << " of arena " << space;
    }
  }

  void CheckScratch() {
    std::byte* end = Aligned(scratch_) + dispatch_->ScratchBytes();
    ASSERT_TRUE(std::all_of(end, scratch_.data() + scratch_.size(), [](std::byte b) { return b == kGuard; }))
        << kernel_ << " wrote past its scratch";
  }

  /// What lies between and after the states of a slot and of each page is what it was.
  void CheckStates(TestSequence& sequence) {
    const auto check = [&](std::vector<std::byte>& data, bool pages, std::byte guard, int64_t unit) {
      std::vector<std::pair<int64_t, int64_t>> may_change;
      for (const auto& [name, state] : arguments.states) {
        if ((state.kind == StateKind::kKvCache) == pages) {
          may_change.emplace_back(Aligned(data) - data.data() + state.offset_bytes * unit,
                                  state_bytes_.at(name) * unit);
        }
      }
      const int64_t changed = FirstChange(std::vector<std::byte>(data.size(), guard), data, may_change);
      ASSERT_EQ(changed, data.size()) << kernel_ << " wrote outside its state, at byte " << changed;
    };
    check(sequence.slot, /*pages=*/false, kGuard, 1);
    for (std::vector<std::byte>& page : sequence.pages) {
      check(page, /*pages=*/true, kNaN, arguments.page_tokens);
    }
  }

  std::string kernel_;
  std::unique_ptr<ThreadPool> pool_;
  std::unique_ptr<PreparedDispatch> dispatch_;
  std::deque<std::vector<std::byte>> storage_;
  std::map<std::string, int64_t> state_bytes_;  // of a slot, or of a page a token
  int64_t token_bytes_ = 0, row_bytes_ = 0, slot_bytes_ = 0, page_bytes_per_token_ = 0;
  std::vector<std::byte> token_arena_, row_arena_, scratch_;
};

/// Every element within `tolerance` of the reference, absolute.
inline void ExpectNear(const Floats& found, const Floats& expected, double tolerance, const std::string& what) {
  ASSERT_EQ(found.size(), expected.size()) << what;
  for (size_t i = 0; i < found.size(); ++i) {
    ASSERT_NEAR(found[i], expected[i], tolerance) << what << ", element " << i << ", NEMOTRON_TEST_SEED=" << BaseSeed();
  }
}

/// Instruction sets of this machine; a test runs once with each.
inline std::vector<Isa> Isas() {
  std::vector<Isa> isas;
  for (size_t i = 0; i < IsaNames().size(); ++i) {
    if (HasIsa(static_cast<Isa>(i))) {
      isas.push_back(static_cast<Isa>(i));
    }
  }
  return isas;
}

class EachIsa : public testing::TestWithParam<Isa> {
 protected:
  void SetUp() override { ASSERT_TRUE(ForceIsa(GetParam()).ok()); }
  void TearDown() override { ASSERT_TRUE(ForceIsa(BestIsa()).ok()); }
};
inline std::string IsaTestName(const testing::TestParamInfo<Isa>& info) { return std::string(IsaName(info.param)); }

/// Ways of cutting `total` tokens into steps.
inline std::vector<std::vector<int64_t>> Cuts(int64_t total) {
  std::vector<std::vector<int64_t>> cuts = {std::vector<int64_t>(total, 1)};
  for (uint32_t seed = 1; seed <= 3; ++seed) {
    std::mt19937 random(seed + 1000 * BaseSeed());
    cuts.emplace_back();
    for (int64_t left = total; left > 0; left -= cuts.back().back()) {
      cuts.back().push_back(std::min<int64_t>(left, 1 + random() % 21));
    }
  }
  return cuts;
}

}  // namespace nemotron::runtime::cpu

#endif  // TESTS_RUNTIME_CPU_KERNEL_FIXTURE_H_
