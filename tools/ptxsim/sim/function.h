#ifndef TOOLS_PTXSIM_SIM_FUNCTION_H_
#define TOOLS_PTXSIM_SIM_FUNCTION_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "runtime/base/status.h"
#include "tools/ptxsim/ptx/module.h"
#include "tools/ptxsim/sim/launch.h"
#include "tools/ptxsim/sim/op.h"

namespace nemotron::ptxsim {

/// Rows of constants, aligned for vector loads.
struct alignas(64) ConstantLine {
  std::byte bytes[64];
};

/// A call as the caller sees it: which of its .param variables go in and come out.
struct CallSite {
  struct Copy {
    int64_t from, to, size_bytes;  ///< offsets in the local memory of the two frames
  };
  uint32_t function;
  std::vector<Copy> arguments, results;
};

/// A function ready to run.
struct DecodedFunction {
  std::string name;
  bool is_entry = false;
  std::vector<Op> ops;  ///< ends with a ret, so that running off the end returns
  std::vector<uint32_t> rows;
  std::vector<ConstantLine> constants;
  std::vector<std::vector<uint32_t>> branch_tables;  ///< of brx.idx, op indices
  std::vector<CallSite> calls;
  int64_t register_bytes = 0;  ///< of a warp
  int64_t local_bytes = 0;     ///< of a thread: local variables and, but for entries, parameters
  int64_t parameter_bytes = 0;
  uint32_t line = 0;
};

/// Where a symbol lies.
struct Symbol {
  Space space;
  uint64_t address;  ///< as `mov` of the symbol gives it
  int64_t size_bytes;
};

/// What decoding needs to know of the module around a function.
class SymbolTable {
 public:
  virtual ~SymbolTable() = default;
  virtual const Symbol* FindGlobal(const std::string& name) const = 0;  ///< variables of the module
  virtual int FindFunction(const std::string& name) const = 0;          ///< -1: none
};

/// How parameters, local and static shared variables of a function lie.
struct FrameLayout {
  std::vector<std::pair<std::string, Symbol>> symbols;
  int64_t local_bytes = 0;
  int64_t shared_bytes = 0;  ///< end of static shared memory after this function's variables

  const Symbol* Find(const std::string& name) const;
};

/// Lays out the variables of a function; its shared variables begin at `shared_begin`.
FrameLayout LayOutFrame(const Function& function, int64_t shared_begin);

struct DecodeContext {
  const Module* module;
  const std::vector<FrameLayout>* layouts;  ///< one a function of the module
  const SymbolTable* symbols;
  const GpuModel* gpu;
};

/// Decodes function `index` of the module. kUnimplemented "line N: 'text': ..." for what the simulator lacks.
runtime::StatusOr<std::unique_ptr<DecodedFunction>> DecodeFunction(const DecodeContext& context, size_t index);

}  // namespace nemotron::ptxsim

#endif  // TOOLS_PTXSIM_SIM_FUNCTION_H_
