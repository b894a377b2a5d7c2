#ifndef RUNTIME_PLAN_CUBIN_H_
#define RUNTIME_PLAN_CUBIN_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "runtime/base/status.h"
#include "runtime/plan/machine_code.h"

namespace nemotron::runtime {

/// A function of a cubin, as its compiler left it.
struct CubinFunction {
  std::string name;
  int capability = 0;        ///< compute capability that the code is for: 90 for 9.0
  int64_t registers = 0;     ///< a thread
  int64_t stack_bytes = 0;   ///< a thread, with what it calls: spilled registers and arrays that are not in registers
  int64_t shared_bytes = 0;  ///< a block, static; without what the system reserves
  CodeSummary code;
};

/// The functions of a cubin, an ELF file for machine EM_CUDA, in the order of their sections. Every offset, size and
/// index is checked, and no more bytes of code are read than the file has. Errors: kDataLoss with what was found and
/// expected; kUnimplemented for a version of the format or a compute capability that we do not know.
StatusOr<std::vector<CubinFunction>> ReadCubin(std::span<const std::byte> bytes);

}  // namespace nemotron::runtime

#endif  // RUNTIME_PLAN_CUBIN_H_
