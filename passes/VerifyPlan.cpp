//===- VerifyPlan.cpp - whether a module can be written as a plan file --------------------------------------------===//
#include "passes/PlanPasses.h"

#include "passes/PlanLiveness.h"
#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/StringSet.h"

using namespace mlir;

namespace nemotron::passes {

#define GEN_PASS_DEF_VERIFYPLANPASS
#include "passes/PlanPasses.h.inc"

namespace {

/// Bytes [begin, end) of an arena, a slot or a page.
struct Range {
  Operation *op;
  int64_t begin, end;
};

/// Sorts `ranges` and complains about the first two that share bytes.
LogicalResult verifyDisjoint(SmallVectorImpl<Range> &ranges, StringRef what) {
  llvm::sort(ranges,
             [](const Range &a, const Range &b) { return std::pair(a.begin, a.end) < std::pair(b.begin, b.end); });
  for (size_t i = 1; i < ranges.size(); ++i) {
    const Range &before = ranges[i - 1], &after = ranges[i];
    if (after.begin < before.end) {
      InFlightDiagnostic diag = after.op->emitOpError() << "lies at bytes " << after.begin << " to " << after.end
                                                        << " of " << what << ", which hold other data at that time";
      diag.attachNote(before.op->getLoc()) << "bytes " << before.begin << " to " << before.end << " are taken by this";
      return diag;
    }
  }
  return success();
}

struct VerifyPlanPass : public impl::VerifyPlanPassBase<VerifyPlanPass> {
  void runOnOperation() override {
    ModuleOp module = getOperation();
    if (failed(verifyOps(module)) || failed(verifyKernels(module)) || failed(verifyWeights(module)) ||
        failed(verifyStates(module))) {
      return signalPassFailure();
    }
    for (auto program : module.getOps<plan::ProgramOp>()) {
      if (failed(verifyBuffers(program)) || failed(verifyLives(program)) || failed(verifyReads(program))) {
        return signalPassFailure();
      }
    }
    markAllAnalysesPreserved();
  }

private:
  LogicalResult verifyOps(ModuleOp module) {
    size_t numPrograms = 0;
    for (Operation &op : *module.getBody()) {
      if (!isa<ir::WeightDeclOp, plan::WeightOp, plan::StateOp, plan::KernelOp, plan::ProgramOp>(op)) {
        return op.emitError() << "'" << op.getName() << "' is left after the conversion to a plan";
      }
      numPrograms += isa<plan::ProgramOp>(op);
    }
    if (numPrograms != 1) {
      return module.emitError() << "has " << numPrograms << " programs, expected one";
    }
    return success();
  }

  /// All dispatches have a `plan.kernel`, or none has: a target's kernels are compiled for the plan or are fixed.
  LogicalResult verifyKernels(ModuleOp module) {
    llvm::StringSet<> names;
    for (auto kernel : module.getOps<plan::KernelOp>()) {
      if (!names.insert(kernel.getName()).second) {
        return kernel.emitOpError() << "has the name of an earlier one, '" << kernel.getName() << "'";
      }
    }
    WalkResult result = module.walk([&](plan::DispatchOp dispatch) {
      if (!names.empty() && !names.contains(dispatch.getKernel())) {
        dispatch.emitOpError() << "has no plan.kernel '" << dispatch.getKernel() << "'";
        return WalkResult::interrupt();
      }
      return WalkResult::advance();
    });
    return failure(result.wasInterrupted());
  }

  LogicalResult verifyWeights(ModuleOp module) {
    for (auto weight : module.getOps<plan::WeightOp>()) {
      Operation *yield = weight.getBody().front().getTerminator();
      for (auto pack : weight.getBody().getOps<plan::PackOp>()) {
        if (!llvm::all_of(pack->getUsers(), [&](Operation *user) { return user == yield; })) {
          return pack.emitOpError() << "is not the last thing done to @" << weight.getSymName()
                                    << ", expected plan.yield next";
        }
      }
    }
    return success();
  }

  LogicalResult verifyStates(ModuleOp module) {
    SmallVector<Range> slot, page;
    for (auto state : module.getOps<plan::StateOp>()) {
      if (!state.getOffset()) {
        return state.emitOpError() << "has no offset, expected plan-memory to have set it";
      }
      int64_t begin = *state.getOffset();
      (state.getKind() == ir::StateKind::KvCache ? page : slot).push_back({state, begin, begin + stateBytes(state)});
    }
    return failure(failed(verifyDisjoint(slot, "the slot")) || failed(verifyDisjoint(page, "a page")));
  }

  LogicalResult verifyBuffers(plan::ProgramOp program) {
    if (!program.getTokenArenaBytes() || !program.getRowArenaBytes()) {
      return program.emitOpError() << "has no arena sizes, expected plan-memory to have set them";
    }
    for (auto buffer : program.getBody().getOps<plan::BufferOp>()) {
      if (!buffer.getOffset()) {
        return buffer.emitOpError() << "has no offset, expected plan-memory to have set it";
      }
      const bool isToken = buffer.getResult().getType().getSpace() == plan::Space::Token;
      int64_t arena = buffer.getZeroed() ? program.getZeroedBytes().value_or(0)
                      : isToken          ? *program.getTokenArenaBytes()
                                         : *program.getRowArenaBytes();
      int64_t offset = *buffer.getOffset(), bytes = buffer.rowBytes();
      if (offset > arena || bytes > arena - offset) {
        return buffer.emitOpError() << "ends at byte " << offset + bytes << " of "
                                    << (buffer.getZeroed() ? "zeroed memory" : "an arena") << " of " << arena
                                    << " bytes";
      }
    }
    return verifyZeroed(program);
  }

  LogicalResult verifyZeroed(plan::ProgramOp program) {
    auto target = getOperation()->getAttrOfType<StringAttr>("plan.target");
    SmallVector<Range> ranges;
    for (auto buffer : program.getBody().getOps<plan::BufferOp>()) {
      if (!buffer.getZeroed()) {
        continue;
      }
      if (target && target.getValue() == "cpu") {
        return buffer.emitOpError() << "is zeroed, which target cpu has no memory for";
      }
      int64_t begin = *buffer.getOffset();
      ranges.push_back({buffer, begin, begin + buffer.rowBytes()});
    }
    return verifyDisjoint(ranges, "the zeroed memory");
  }

  /// No two buffers that are live at one dispatch share bytes. A sweep over the dispatches: the live ones are few.
  LogicalResult verifyLives(plan::ProgramOp program) {
    SmallVector<BufferLife> lives = computeBufferLives(program);
    llvm::sort(lives, [](const BufferLife &a, const BufferLife &b) {
      return std::pair(a.first, a.index) < std::pair(b.first, b.index);
    });
    SmallVector<BufferLife *> live;
    for (BufferLife &life : lives) {
      if (!life.isUsed() || life.buffer.getZeroed()) {
        continue;
      }
      llvm::erase_if(live, [&](BufferLife *other) { return other->last < life.first; });
      for (BufferLife *other : live) {
        if (other->space != life.space) {
          continue;
        }
        auto rangeOf = [](BufferLife &l) {
          int64_t begin = *l.buffer.getOffset();
          return Range{l.buffer, begin, begin + l.bytes};
        };
        SmallVector<Range> both{rangeOf(*other), rangeOf(life)};
        if (failed(verifyDisjoint(both, life.space == plan::Space::Token ? "the token arena" : "the row arena"))) {
          return failure();
        }
      }
      live.push_back(&life);
    }
    return success();
  }

  /// Whatever is read was written by a dispatch before, or is zeroed.
  LogicalResult verifyReads(plan::ProgramOp program) {
    llvm::DenseMap<Operation *, llvm::SmallVector<std::pair<int64_t, int64_t>>> written;
    auto isWritten = [&](Value value) {
      BufferColumns columns = resolveView(value);
      if (columns.buffer.getZeroed()) {
        return true;
      }
      int64_t reached = columns.begin;
      // Runs are few and may overlap; extend until nothing helps.
      for (bool grew = true; grew && reached < columns.end;) {
        grew = false;
        for (auto [begin, end] : written[columns.buffer]) {
          if (begin <= reached && end > reached) {
            reached = end;
            grew = true;
          }
        }
      }
      return reached >= columns.end;
    };
    for (auto dispatch : program.getBody().getOps<plan::DispatchOp>()) {
      for (auto [value, name] :
           llvm::zip(dispatch.getInputs(), dispatch.getInputNames().getAsValueRange<StringAttr>())) {
        if (!isWritten(value)) {
          return dispatch.emitOpError() << "reads '" << name << "', which no dispatch before has written";
        }
      }
      for (Value value : dispatch.getOutputs()) {
        BufferColumns columns = resolveView(value);
        written[columns.buffer].push_back({columns.begin, columns.end});
      }
    }
    auto end = cast<plan::ReturnOp>(program.getBody().front().getTerminator());
    for (Value returned : end->getOperands()) {
      if (!isWritten(returned)) {
        return end.emitOpError() << "returns " << (returned == end.getLogits() ? "logits" : "samples")
                                 << " that no dispatch has written";
      }
      if (!returned.getDefiningOp<plan::BufferOp>()) {
        return end.emitOpError() << "returns a view, expected a buffer";
      }
    }
    return success();
  }
};

} // namespace
} // namespace nemotron::passes
