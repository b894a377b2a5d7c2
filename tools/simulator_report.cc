#include "tools/simulator_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <vector>

namespace nemotron::tools {
namespace {

using Entry = SimulatorCounts::value_type;

constexpr double kSectorBytes = 32;
constexpr const char* kClasses[] = {"memory",  "float",      "double", "integer",
                                    "special", "conversion", "tensor", "control"};

/// "1.05", "-" if there is nothing.
std::string Ratio(uint64_t found, uint64_t ideal) {
  return ideal == 0 ? "-" : fmt::format("{:.2f}", static_cast<double>(found) / static_cast<double>(ideal));
}

std::string Megabytes(double bytes) { return fmt::format("{:.3f}", bytes * 1e-6); }

}  // namespace

void PrintCounts(std::FILE* file, std::string_view title, const SimulatorCounts& counts) {
  if (counts.empty()) {
    return;
  }
  std::vector<const Entry*> entries;
  for (const Entry& entry : counts) {
    entries.push_back(&entry);
  }
  std::sort(entries.begin(), entries.end(), [](const Entry* a, const Entry* b) {
    return std::pair(b->second.counters.global_load_sectors, a->first) <
           std::pair(a->second.counters.global_load_sectors, b->first);
  });
  constexpr const char* kRow =
      "| {:<28} | {:>8} | {:>10} | {:>10} | {:>8} | {:>10} | {:>8} | {:>10} | {:>8} | {:>8} |\n";
  fmt::print(file, "\n{}, counted by the simulator:\n", title);
  fmt::print(file, fmt::runtime(kRow), "function", "launches", "load MB", "distinct", "sectors", "store MB", "sectors",
             "wavefronts", "of ideal", "tensor");
  for (const Entry* entry : entries) {
    const PtxsimCounters& c = entry->second.counters;
    const uint64_t instructions = std::accumulate(std::begin(c.instructions), std::end(c.instructions), uint64_t{0});
    fmt::print(file, fmt::runtime(kRow), entry->first, entry->second.launches,
               Megabytes(static_cast<double>(c.global_load_sectors) * kSectorBytes),
               Megabytes(static_cast<double>(c.distinct_load_sectors) * kSectorBytes),
               Ratio(c.global_load_sectors, c.global_load_ideal_sectors),
               Megabytes(static_cast<double>(c.global_store_sectors) * kSectorBytes),
               Ratio(c.global_store_sectors, c.global_store_ideal_sectors), c.shared_wavefronts,
               Ratio(c.shared_wavefronts, c.shared_ideal_wavefronts),
               fmt::format("{:.1f} %", 100 * static_cast<double>(c.instructions[6]) /
                                           static_cast<double>(std::max<uint64_t>(instructions, 1))));
  }
  std::fflush(file);
}

nlohmann::json CountsJson(const SimulatorCounts& counts) {
  nlohmann::json list = nlohmann::json::array();
  for (const auto& [function, kernel] : counts) {
    const PtxsimCounters& c = kernel.counters;
    nlohmann::json instructions;
    for (size_t i = 0; i < std::size(kClasses); ++i) {
      instructions[kClasses[i]] = c.instructions[i];
    }
    list.push_back({{"function", function},
                    {"launches", kernel.launches},
                    {"instructions", std::move(instructions)},
                    {"tensor_multiply_adds", c.tensor_multiply_adds},
                    {"global_load_bytes", c.global_load_bytes},
                    {"global_store_bytes", c.global_store_bytes},
                    {"global_load_sectors", c.global_load_sectors},
                    {"global_load_ideal_sectors", c.global_load_ideal_sectors},
                    {"global_store_sectors", c.global_store_sectors},
                    {"global_store_ideal_sectors", c.global_store_ideal_sectors},
                    {"distinct_load_sectors", c.distinct_load_sectors},
                    {"distinct_store_sectors", c.distinct_store_sectors},
                    {"shared_wavefronts", c.shared_wavefronts},
                    {"shared_ideal_wavefronts", c.shared_ideal_wavefronts}});
  }
  return list;
}

}  // namespace nemotron::tools
