//===- BlockPipeline.cpp - reads, packs and writes weights at the same time ---------------------------------------===//
#include "codegen/BlockPipeline.h"

#include <algorithm>

using nemotron::runtime::Status;

namespace nemotron::codegen {

std::byte *Block::reserve(std::unique_ptr<std::byte[]> &bytes, size_t &capacity, size_t size) {
  if (size > capacity) {
    bytes.reset(); // before the new one is there
    bytes = std::make_unique_for_overwrite<std::byte[]>(size);
    capacity = size;
  }
  return bytes.get();
}

void Block::swapBuffers() {
  std::swap(input, output);
  std::swap(inputCapacity, outputCapacity);
}

void Block::quantize() {
  std::byte *codes = reserve(output, outputCapacity, numElements);
  quantizeElements(from, input.get(), *scales, to, codes, numElements);
  swapBuffers();
  from = to;
}

void Block::pack() {
  outputSize = panels ? panels->outputBytes() : numElements * runtime::SizeOf(to);
  if (!panels && from == to) {
    swapBuffers(); // nothing to do: what was read is what is written
    return;
  }
  std::byte *bytes = reserve(output, outputCapacity, outputSize);
  if (panels) {
    packPanels(*panels, input.get(), bytes);
  } else {
    convertElements(from, input.get(), to, bytes, numElements);
  }
}

BlockPipeline::BlockPipeline(runtime::PlanWriter &writer, unsigned numPackers) : writer(writer) {
  // One block a packer, and one each that is read, waits to be packed, and is written.
  for (unsigned i = 0; i < numPackers + 3; ++i) {
    blocks.push_back(std::make_unique<Block>());
  }
  for (unsigned i = 0; i < numPackers; ++i) {
    threads.emplace_back([this] { pack(); });
  }
  threads.emplace_back([this] { write(); });
}

BlockPipeline::~BlockPipeline() { stop(); }

void BlockPipeline::stop() {
  {
    std::lock_guard lock(mutex);
    stopped = true;
  }
  changed.notify_all();
  for (std::thread &thread : threads) {
    thread.join();
  }
  threads.clear();
}

Block *BlockPipeline::acquire() {
  std::unique_lock lock(mutex);
  Block *found = nullptr;
  changed.wait(lock, [&] {
    auto it =
        std::find_if(blocks.begin(), blocks.end(), [](auto &block) { return block->state == Block::State::Free; });
    found = it == blocks.end() ? nullptr : it->get();
    return found || !error.ok();
  });
  if (!error.ok()) {
    return nullptr;
  }
  found->state = Block::State::Reading;
  return found;
}

void BlockPipeline::submit(Block *block) {
  {
    std::lock_guard lock(mutex);
    block->state = Block::State::Queued;
    toPack.push_back(block);
    toWrite.push_back(block);
  }
  changed.notify_all();
}

Status BlockPipeline::finish() {
  {
    std::unique_lock lock(mutex);
    noMore = true;
    changed.wait(lock, [&] { return toWrite.empty() || !error.ok(); });
  }
  stop();
  return std::move(error);
}

void BlockPipeline::pack() {
  for (;;) {
    Block *block;
    {
      std::unique_lock lock(mutex);
      changed.wait(lock, [&] { return stopped || !toPack.empty(); });
      if (stopped) {
        return;
      }
      block = toPack.front();
      toPack.pop_front();
    }
    if (block->scales) {
      block->quantize();
    }
    block->pack();
    {
      std::lock_guard lock(mutex);
      block->state = Block::State::Packed;
    }
    changed.notify_all();
  }
}

void BlockPipeline::write() {
  std::unique_lock lock(mutex);
  for (;;) {
    changed.wait(lock, [&] {
      return stopped || (error.ok() && !toWrite.empty() && toWrite.front()->state == Block::State::Packed);
    });
    if (stopped) {
      return;
    }
    Block *block = toWrite.front();
    lock.unlock();
    Status status = writeBlock(*block);
    lock.lock();
    toWrite.pop_front();
    block->state = Block::State::Free;
    error = std::move(status);
    changed.notify_all();
  }
}

Status BlockPipeline::writeBlock(Block &block) {
  if (block.beginsSegment) {
    RETURN_IF_ERROR(writer.BeginSegment());
  }
  RETURN_IF_ERROR(writer.Append(std::span(block.output.get(), block.outputSize)));
  if (block.endsSegment) {
    ASSIGN_OR_RETURN(*block.endsSegment, writer.EndSegment());
  }
  written.fetch_add(static_cast<int64_t>(block.outputSize), std::memory_order_relaxed);
  return runtime::OkStatus();
}

} // namespace nemotron::codegen
