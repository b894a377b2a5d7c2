//===- BlockPipeline.h - reads, packs and writes weights at the same time --------------------------------------*- C++
//-*-===//
#ifndef CODEGEN_BLOCKPIPELINE_H
#define CODEGEN_BLOCKPIPELINE_H

#include <atomic>
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "codegen/Elements.h"
#include "codegen/Packing.h"
#include "runtime/base/status.h"
#include "runtime/plan/plan_writer.h"

namespace nemotron::codegen {

/// A few MiB of a segment on their way through the pipeline.
struct Block {
  /// Grows to hold `size` bytes; what was in it is lost.
  static std::byte *reserve(std::unique_ptr<std::byte[]> &bytes, size_t &capacity, size_t size);
  std::byte *reserveInput(size_t size) { return reserve(input, inputCapacity, size); }

  // Filled in by the reader.
  std::unique_ptr<std::byte[]> input;
  runtime::DType from, to;
  int64_t numElements = 0;         ///< of the input
  std::optional<RunScales> scales; ///< to quantize the input with, which comes first
  std::optional<PanelRun> panels;  ///< how it is packed then; else elements are only converted
  bool beginsSegment = false;
  schema::Segment *endsSegment = nullptr; ///< where to say where the segment lies, if this is its last block

private:
  friend class BlockPipeline;
  enum class State { Free, Reading, Queued, Packed };
  void swapBuffers();
  void quantize();
  void pack();

  State state = State::Free;
  size_t inputCapacity = 0, outputCapacity = 0;
  std::unique_ptr<std::byte[]> output;
  size_t outputSize = 0;
};

/// Three stages over a ring of blocks: the caller reads, several threads quantize, convert and pack, one thread writes
/// in the order of reading. Memory is that of the ring: a few blocks more than there are packers.
///
///   while (more) {
///     Block *block = pipeline.acquire();  // waits for a free one
///     if (!block) break;                  // a stage failed; finish() says why
///     ... fill it ...
///     pipeline.submit(block);
///   }
///   Status status = pipeline.finish();
class BlockPipeline {
public:
  /// `writer` is used by the pipeline alone until `finish`.
  BlockPipeline(runtime::PlanWriter &writer, unsigned numPackers);
  /// Stops, dropping what was not written.
  ~BlockPipeline();

  Block *acquire();
  void submit(Block *block);
  /// Waits until all is written. The first error of the writer, if there was one.
  runtime::Status finish();

  /// Bytes that were written so far.
  int64_t bytesWritten() const { return written.load(std::memory_order_relaxed); }

private:
  void pack();
  void write();
  runtime::Status writeBlock(Block &block);
  void stop();

  runtime::PlanWriter &writer;
  std::mutex mutex;
  std::condition_variable changed;
  std::vector<std::unique_ptr<Block>> blocks;
  std::deque<Block *> toPack, toWrite; ///< in the order of submission
  bool noMore = false, stopped = false;
  runtime::Status error;
  std::atomic<int64_t> written{0};
  std::vector<std::thread> threads;
};

} // namespace nemotron::codegen

#endif // CODEGEN_BLOCKPIPELINE_H
