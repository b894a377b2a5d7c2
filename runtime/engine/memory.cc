#include "runtime/engine/memory.h"

#include <algorithm>
#include <fstream>
#include <limits>
#include <optional>
#include <sstream>
#include <string_view>

#include "runtime/base/cgroup.h"
#include "runtime/plan/format.h"

namespace nemotron::runtime {
namespace {

constexpr int64_t kUnlimited = int64_t{1} << 62;
constexpr int64_t kMaxSequencesLimit = 1 << 16;
constexpr int64_t kMaxTokensLimit = 1 << 16;
constexpr int64_t kMaxContext = int64_t{1} << 40;
constexpr int64_t kSmallestDefaultContext = 512;

/// a * b for sizes that are not negative, at most kUnlimited.
int64_t Multiply(int64_t a, int64_t b) {
  int64_t product = 0;
  return __builtin_mul_overflow(a, b, &product) || product > kUnlimited ? kUnlimited : product;
}

std::optional<int64_t> ReadNumber(const std::string& path) {
  std::ifstream file(path);
  int64_t value = 0;
  return file >> value ? std::optional(value) : std::nullopt;  // "max" is no number: no limit
}

/// The sum of the values of `keys` in a file of lines "key value".
int64_t SumOfKeys(const std::string& path, std::initializer_list<std::string_view> keys) {
  std::ifstream file(path);
  std::string key;
  int64_t value = 0, sum = 0;
  while (file >> key >> value) {
    if (std::find(keys.begin(), keys.end(), key) != keys.end()) {
      sum += value;
    }
  }
  return sum;
}

/// What one control group leaves.
int64_t AvailableInGroup(const CgroupFolder& group) {
  const bool v2 = group.version == 2;
  const auto limit = ReadNumber(group.path + (v2 ? "/memory.max" : "/memory.limit_in_bytes"));
  const auto usage = ReadNumber(group.path + (v2 ? "/memory.current" : "/memory.usage_in_bytes"));
  if (!limit.has_value() || !usage.has_value()) {
    return kUnlimited;
  }
  const std::string stat = group.path + "/memory.stat";
  const int64_t cache = v2 ? SumOfKeys(stat, {"inactive_file", "active_file"})
                           : SumOfKeys(stat, {"total_inactive_file", "total_active_file"});
  return std::max<int64_t>(0, *limit - std::max<int64_t>(0, *usage - cache));
}

std::string Describe(const MemoryReport& report) {
  return fmt::format("weights {}, {} sequences {}, {} tokens of context {}, workspace {}",
                     FormatBytes(report.weight_bytes), report.num_slots, FormatBytes(report.slot_bytes),
                     report.num_pages * report.page_tokens, FormatBytes(report.page_bytes),
                     FormatBytes(report.workspace_bytes));
}

Status CheckOption(std::string_view name, int64_t value, int64_t minimum, int64_t maximum) {
  if (value < minimum || value > maximum) {
    return InvalidArgument("{} is {}, expected {} to {}", name, value, minimum, maximum);
  }
  return OkStatus();
}

}  // namespace

int64_t AvailableMemoryBytes(const std::string& root) {
  int64_t available = kUnlimited;
  std::ifstream meminfo(root + "/proc/meminfo");
  for (std::string line; std::getline(meminfo, line);) {
    if (line.starts_with("MemAvailable:")) {
      std::istringstream rest(line.substr(line.find(':') + 1));
      int64_t kibibytes = 0;
      if (rest >> kibibytes && kibibytes >= 0 && kibibytes < kUnlimited / 1024) {
        available = kibibytes * 1024;
      }
    }
  }
  for (const CgroupFolder& group : CgroupFolders("memory", root)) {
    available = std::min(available, AvailableInGroup(group));
  }
  return available;
}

std::string FormatBytes(int64_t bytes) {
  if (bytes < 1024) {
    return fmt::format("{} bytes", bytes);
  }
  double value = static_cast<double>(bytes);
  std::string_view unit;
  for (const std::string_view next : {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"}) {
    value /= 1024;
    unit = next;
    if (value < 1000) {
      break;
    }
  }
  return fmt::format("{:.{}f} {}", value, value < 10 ? 2 : value < 100 ? 1 : 0, unit);
}

StatusOr<ProgramLimits> ResolveLimits(const EngineOptions& options, int64_t max_position_embeddings) {
  ProgramLimits limits;
  RETURN_IF_ERROR(CheckOption("max_sequences", options.max_sequences, 1, kMaxSequencesLimit));
  RETURN_IF_ERROR(CheckOption("max_tokens_per_step", options.max_tokens_per_step, 0, kMaxTokensLimit));
  RETURN_IF_ERROR(CheckOption("max_rows_per_step", options.max_rows_per_step, 0, kMaxTokensLimit));
  RETURN_IF_ERROR(CheckOption("context_tokens", options.context_tokens, 0, kMaxContext));
  RETURN_IF_ERROR(CheckOption("page_tokens", options.page_tokens, 0, 4096));
  RETURN_IF_ERROR(CheckOption("memory_limit_bytes", options.memory_limit_bytes, 0, kUnlimited));
  RETURN_IF_ERROR(CheckOption("num_threads", options.num_threads, 0, 4096));
  if (options.page_tokens % 16 != 0) {
    return InvalidArgument("page_tokens is {}, expected a multiple of 16", options.page_tokens);
  }
  limits.max_sequences = options.max_sequences;
  limits.max_tokens = options.max_tokens_per_step != 0 ? options.max_tokens_per_step : 512;
  limits.max_rows =
      options.max_rows_per_step != 0 ? options.max_rows_per_step : std::max<int64_t>(options.max_sequences, 32);
  limits.max_rows = std::min(limits.max_rows, limits.max_tokens);
  limits.page_tokens = options.page_tokens != 0 ? options.page_tokens : 64;
  limits.max_context =
      options.context_tokens != 0 ? std::min(options.context_tokens, max_position_embeddings) : max_position_embeddings;
  return limits;
}

int64_t PageBytes(const Plan& plan, int64_t page_tokens) {
  // The loader bounds the factor (2^30) and ResolveLimits the other (4096). States in a page lie at their per-token
  // offset times page_tokens, a multiple of 4 times a multiple of 16, so pages and states are aligned to 64 bytes.
  return static_cast<int64_t>(plan.root().kv_bytes_per_token()) * page_tokens;
}

StatusOr<MemoryReport> FitMemory(const Plan& plan, const EngineOptions& options, const ProgramLimits& limits,
                                 int64_t workspace_bytes, int64_t available_bytes) {
  const int64_t page_bytes = PageBytes(plan, limits.page_tokens);
  const auto max_positions = static_cast<int64_t>(plan.root().model()->max_position_embeddings());
  const int64_t context = options.context_tokens != 0 ? options.context_tokens : max_positions;

  MemoryReport report;
  report.weight_bytes = plan.weight_bytes();
  report.num_slots = limits.max_sequences;
  report.slot_bytes = Multiply(static_cast<int64_t>(plan.root().slot_bytes()), limits.max_sequences);
  report.workspace_bytes = workspace_bytes;
  report.available_bytes = available_bytes;
  report.page_tokens = limits.page_tokens;
  if (page_bytes > 0) {
    report.num_pages = (context + limits.page_tokens - 1) / limits.page_tokens;
    report.page_bytes = Multiply(page_bytes, report.num_pages);
  }
  // Each term is at most 2^62, so a sum of two that fits is compared before the next is added.
  const int64_t fixed = static_cast<int64_t>(std::min<__int128>(
      static_cast<__int128>(report.weight_bytes) + report.slot_bytes + report.workspace_bytes, kUnlimited));
  const int64_t room = available_bytes - fixed;
  if (room >= report.page_bytes) {
    return report;
  }
  const int64_t pages_that_fit = page_bytes > 0 && room > 0 ? room / page_bytes : 0;
  const int64_t tokens_that_fit = pages_that_fit * limits.page_tokens;
  if (options.context_tokens == 0 && tokens_that_fit >= std::min(context, kSmallestDefaultContext)) {
    report.num_pages = pages_that_fit;
    report.page_bytes = pages_that_fit * page_bytes;
    report.note = fmt::format(
        "context lowered from {} to {} tokens to fit into {} of memory; set it with --context, or the memory with "
        "--memory-limit",
        context, tokens_that_fit, FormatBytes(available_bytes));
    return report;
  }
  const std::string most = tokens_that_fit > 0 ? fmt::format(" (at most {} tokens fit)", tokens_that_fit) : "";
  const int64_t total = static_cast<int64_t>(
      std::min<__int128>(static_cast<__int128>(fixed) + report.page_bytes, std::numeric_limits<int64_t>::max()));
  return Error(
      StatusCode::kResourceExhausted,
      "the plan needs {} of memory ({}), but {} are {}; lower --context{}, --max-sequences or --prefill-chunk, or "
      "raise --memory-limit",
      FormatBytes(total), Describe(report), FormatBytes(available_bytes),
      options.memory_limit_bytes != 0 ? "allowed" : "available", most);
}

}  // namespace nemotron::runtime
