//===- WeightNumbers.h - tells whether two weights are computed alike -------------------------------------------*- C++
//-*-===//
#ifndef DIALECTS_PLAN_IR_WEIGHTNUMBERS_H
#define DIALECTS_PLAN_IR_WEIGHTNUMBERS_H

#include <map>
#include <vector>

#include "mlir/IR/Operation.h"

namespace nemotron::plan {

/// Numbers what ops of one result compute: equal numbers for equal names, attributes and result types, on inputs of
/// equal numbers. For ops of one context, in any blocks.
class WeightNumbers {
public:
  unsigned numberOf(mlir::Operation *op, llvm::ArrayRef<unsigned> inputs) {
    std::vector<uintptr_t> key{reinterpret_cast<uintptr_t>(op->getName().getAsOpaquePointer()),
                               reinterpret_cast<uintptr_t>(op->getPropertiesAsAttribute().getAsOpaquePointer()),
                               reinterpret_cast<uintptr_t>(op->getResult(0).getType().getAsOpaquePointer())};
    key.insert(key.end(), inputs.begin(), inputs.end());
    return known.try_emplace(std::move(key), known.size()).first->second;
  }

private:
  std::map<std::vector<uintptr_t>, unsigned> known;
};

} // namespace nemotron::plan

#endif // DIALECTS_PLAN_IR_WEIGHTNUMBERS_H
