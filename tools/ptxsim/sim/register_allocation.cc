#include "tools/ptxsim/sim/register_allocation.h"

#include <algorithm>
#include <map>
#include <queue>

namespace nemotron::ptxsim {
namespace {

class BitSet {
 public:
  explicit BitSet(size_t size) : words_((size + 63) / 64) {}
  bool Has(uint32_t i) const { return words_[i / 64] >> (i % 64) & 1; }
  void Add(uint32_t i) { words_[i / 64] |= uint64_t{1} << (i % 64); }
  /// this |= added - removed; whether anything changed.
  bool Merge(const BitSet& added, const BitSet* removed = nullptr) {
    uint64_t changed = 0;
    for (size_t i = 0; i < words_.size(); ++i) {
      const uint64_t next = words_[i] | (added.words_[i] & (removed ? ~removed->words_[i] : ~uint64_t{0}));
      changed |= next ^ words_[i];
      words_[i] = next;
    }
    return changed != 0;
  }
  template <typename Visit>
  void ForEach(Visit visit) const {
    for (size_t i = 0; i < words_.size(); ++i) {
      for (uint64_t word = words_[i]; word; word &= word - 1) {
        visit(static_cast<uint32_t>(i * 64 + __builtin_ctzll(word)));
      }
    }
  }

 private:
  std::vector<uint64_t> words_;
};

struct Block {
  uint32_t begin, end;
  std::vector<uint32_t> successors;
  BitSet used, defined, live_in, live_out;
};

bool IsRegister(uint32_t row) { return row != kNoRow && !(row & kConstantRow); }

template <typename Visit>
void ForEachUse(const DraftOp& draft, Visit visit) {
  for (size_t i = draft.num_results; i < draft.rows.size(); ++i) {
    if (IsRegister(draft.rows[i])) {
      visit(draft.rows[i]);
    }
  }
  if (draft.op.guard == kNoRow) {
    return;
  }
  visit(draft.op.guard);
  for (size_t i = 0; i < draft.num_results; ++i) {  // lanes without the guard keep what they have
    visit(draft.rows[i]);
  }
}

template <typename Visit>
void ForEachResult(const DraftOp& draft, Visit visit) {
  for (size_t i = 0; i < draft.num_results; ++i) {
    visit(draft.rows[i]);
  }
}

std::vector<Block> MakeBlocks(std::span<const DraftOp> ops, size_t num_registers) {
  std::vector<bool> leads(ops.size() + 1, false);
  leads[0] = true;
  for (size_t i = 0; i < ops.size(); ++i) {
    for (uint32_t successor : ops[i].successors) {
      leads[successor] = true;
    }
    leads[i + 1] = leads[i + 1] || !ops[i].successors.empty() || ops[i].op.ends_flow;
  }
  std::vector<Block> blocks;
  std::vector<uint32_t> block_of(ops.size());
  for (uint32_t i = 0; i < ops.size(); ++i) {
    if (leads[i]) {
      blocks.push_back(
          {i, i, {}, BitSet(num_registers), BitSet(num_registers), BitSet(num_registers), BitSet(num_registers)});
    }
    Block& block = blocks.back();
    block.end = i + 1;
    block_of[i] = static_cast<uint32_t>(blocks.size() - 1);
    ForEachUse(ops[i], [&](uint32_t row) {
      if (!block.defined.Has(row)) {
        block.used.Add(row);
      }
    });
    if (ops[i].op.guard == kNoRow) {
      ForEachResult(ops[i], [&](uint32_t row) { block.defined.Add(row); });
    }
  }
  for (Block& block : blocks) {
    const DraftOp& last = ops[block.end - 1];
    for (uint32_t successor : last.successors) {
      block.successors.push_back(block_of[successor]);
    }
    if (!last.op.ends_flow && block.end < ops.size()) {
      block.successors.push_back(block_of[block.end]);
    }
  }
  return blocks;
}

void FindLiveRegisters(std::vector<Block>& blocks) {
  for (bool changed = true; changed;) {
    changed = false;
    for (size_t i = blocks.size(); i-- > 0;) {
      Block& block = blocks[i];
      for (uint32_t successor : block.successors) {
        changed |= block.live_out.Merge(blocks[successor].live_in);
      }
      changed |= block.live_in.Merge(block.used);
      changed |= block.live_in.Merge(block.live_out, &block.defined);
    }
  }
}

/// First and last position; sources of op i are read at 2i, its results written at 2i + 1, so that a result may take
/// the slot of a source that ends there.
struct Interval {
  uint32_t begin = ~0u, end = 0;
  void Cover(uint32_t position) {
    begin = std::min(begin, position);
    end = std::max(end, position);
  }
};

std::vector<Interval> FindIntervals(std::span<const DraftOp> ops, const std::vector<Block>& blocks,
                                    size_t num_registers) {
  std::vector<Interval> intervals(num_registers);
  for (const Block& block : blocks) {
    block.live_in.ForEach([&](uint32_t row) { intervals[row].Cover(2 * block.begin); });
    block.live_out.ForEach([&](uint32_t row) { intervals[row].Cover(2 * block.end); });
    for (uint32_t i = block.begin; i < block.end; ++i) {
      ForEachUse(ops[i], [&](uint32_t row) { intervals[row].Cover(2 * i); });
      ForEachResult(ops[i], [&](uint32_t row) { intervals[row].Cover(2 * i + 1); });
    }
  }
  return intervals;
}

}  // namespace

int64_t AllocateRegisters(std::span<DraftOp> ops, std::span<const int> slot_bytes) {
  const size_t num_registers = slot_bytes.size();
  std::vector<Block> blocks = MakeBlocks(ops, num_registers);
  FindLiveRegisters(blocks);
  const std::vector<Interval> intervals = FindIntervals(ops, blocks, num_registers);

  std::vector<uint32_t> by_begin;
  for (uint32_t row = 0; row < num_registers; ++row) {
    if (intervals[row].begin != ~0u) {
      by_begin.push_back(row);
    }
  }
  std::ranges::sort(by_begin, {}, [&](uint32_t row) { return std::pair(intervals[row].begin, row); });

  struct Pool {
    using Busy = std::pair<uint32_t, uint32_t>;  // end of life, slot
    std::priority_queue<Busy, std::vector<Busy>, std::greater<>> busy;
    std::priority_queue<uint32_t, std::vector<uint32_t>, std::greater<>> free;
    uint32_t num_slots = 0;
  };
  std::map<int, Pool, std::greater<>> pools;  // widest first, so that each pool begins aligned
  std::vector<uint32_t> slots(num_registers);
  for (uint32_t row : by_begin) {
    Pool& pool = pools[slot_bytes[row]];
    while (!pool.busy.empty() && pool.busy.top().first < intervals[row].begin) {
      pool.free.push(pool.busy.top().second);
      pool.busy.pop();
    }
    if (pool.free.empty()) {
      pool.free.push(pool.num_slots++);
    }
    slots[row] = pool.free.top();
    pool.free.pop();
    pool.busy.push({intervals[row].end, slots[row]});
  }

  auto row_bytes = [](int slot) { return slot == 0 ? int64_t{4} : int64_t{slot} * kWarpSize; };
  std::map<int, int64_t> pool_begins;
  int64_t bytes = 0;
  for (const auto& [slot, pool] : pools) {
    pool_begins[slot] = bytes;
    bytes += row_bytes(slot) * pool.num_slots;
  }
  auto offset = [&](uint32_t row) {
    return static_cast<uint32_t>(pool_begins[slot_bytes[row]] + row_bytes(slot_bytes[row]) * slots[row]);
  };
  for (DraftOp& draft : ops) {
    for (uint32_t& row : draft.rows) {
      if (IsRegister(row)) {
        row = offset(row);
      }
    }
    if (draft.op.guard != kNoRow) {
      draft.op.guard = offset(draft.op.guard);
    }
  }
  return (bytes + 63) / 64 * 64;
}

}  // namespace nemotron::ptxsim
