#include "tools/ptxsim/sim/report.h"

#include <fmt/format.h>

namespace nemotron::ptxsim {
namespace {

const char* NameOf(FindingKind kind) {
  switch (kind) {
    case FindingKind::kOutOfBounds:
      return "out of bounds";
    case FindingKind::kMisaligned:
      return "misaligned";
    case FindingKind::kUninitialized:
      return "uninitialized";
    case FindingKind::kRace:
      return "race";
    case FindingKind::kDivergentBarrier:
      return "divergent barrier";
    case FindingKind::kAsyncHazard:
      return "async hazard";
    case FindingKind::kTrap:
      return "trap";
  }
  return "unknown";
}

}  // namespace

Counters& Counters::operator+=(const Counters& other) {
  for (size_t i = 0; i < instructions.size(); ++i) {
    instructions[i] += other.instructions[i];
  }
  tensor_multiply_adds += other.tensor_multiply_adds;
  global_load_bytes += other.global_load_bytes;
  global_store_bytes += other.global_store_bytes;
  global_load_sectors += other.global_load_sectors;
  global_load_ideal_sectors += other.global_load_ideal_sectors;
  global_store_sectors += other.global_store_sectors;
  global_store_ideal_sectors += other.global_store_ideal_sectors;
  distinct_load_sectors += other.distinct_load_sectors;
  distinct_store_sectors += other.distinct_store_sectors;
  shared_wavefronts += other.shared_wavefronts;
  shared_ideal_wavefronts += other.shared_ideal_wavefronts;
  return *this;
}

std::string Finding::ToString() const {
  return fmt::format("{}: kernel '{}', line {}, block ({},{},{}), thread ({},{},{}): {}", NameOf(kind), kernel, line,
                     block[0], block[1], block[2], thread[0], thread[1], thread[2], message);
}

}  // namespace nemotron::ptxsim
