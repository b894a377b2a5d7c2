// A decode step allocates nothing: what it needs was made when the engine was.

#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <new>

#include "runtime/engine/engine.h"
#include "tests/runtime/plan/tiny_plan.h"

namespace {
std::atomic<int64_t> num_allocations = 0;

void* Counted(size_t size) {
  ++num_allocations;
  void* data = std::malloc(size);
  if (data == nullptr) {
    std::abort();
  }
  return data;
}
}  // namespace

void* operator new(size_t size) { return Counted(size); }
void* operator new[](size_t size) { return Counted(size); }
void operator delete(void* data) noexcept { std::free(data); }
void operator delete[](void* data) noexcept { std::free(data); }
void operator delete(void* data, size_t) noexcept { std::free(data); }
void operator delete[](void* data, size_t) noexcept { std::free(data); }

namespace nemotron::runtime {
namespace {

TEST(AllocationTest, DecodeStepsAllocateNothing) {
  auto engine = Engine::Load(testing::LoadTinyPlan(), {.num_threads = 2, .page_tokens = 16});
  ASSERT_TRUE(engine.ok()) << engine.status().message();
  const std::vector<int32_t> prompt(20, 3), next = {5};
  std::vector<StepEntry> entries;
  for (int i = 0; i < 3; ++i) {
    entries.push_back({*(*engine)->CreateSequence(), prompt});
  }
  std::vector<float> logits;
  ASSERT_TRUE((*engine)->Step(entries, &logits).ok());
  for (StepEntry& entry : entries) {
    entry.tokens = next;
  }
  ASSERT_TRUE((*engine)->Step(entries, &logits).ok());
  const int64_t before = num_allocations;
  for (int i = 0; i < 50; ++i) {  // across page boundaries
    ASSERT_TRUE((*engine)->Step(entries, &logits).ok());
  }
  EXPECT_EQ(num_allocations - before, 0);
}

}  // namespace
}  // namespace nemotron::runtime
