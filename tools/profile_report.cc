#include "tools/profile_report.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace nemotron::tools {
namespace {

using namespace nemotron::runtime;  // NOLINT: a tool is made of nothing else
using nlohmann::json;

double Ratio(double value, double whole) { return whole > 0 ? value / whole : 0; }

double ReadShare(const KernelProfile& kernel, const cpu::MachinePeak& peak) {
  return Ratio(Ratio(kernel.cost.bytes_touched(), kernel.seconds), peak.read_bytes_per_second);
}

double DotShare(const KernelProfile& kernel, const cpu::MachinePeak& peak) {
  return Ratio(Ratio(kernel.cost.flops, kernel.seconds), cpu::PeakFlops(peak, kernel.products));
}

/// Three digits that fit a column of seven: "0.012", "12.3", "12345".
std::string Short(double value) {
  return value <= 0 ? "-" : fmt::format("{:.{}f}", value, value < 1 ? 3 : value < 10 ? 2 : value < 100 ? 1 : 0);
}

std::string Count(int64_t number, std::string_view thing) {
  return fmt::format("{} {}{}", number, thing, number == 1 ? "" : "s");
}

}  // namespace

Profile SummarizeProfile(const schema::Plan& plan, const std::deque<ProfiledStep>& steps, size_t first, size_t last,
                         double seconds) {
  const auto& dispatches = *plan.program()->dispatches();
  Profile profile;
  profile.seconds = seconds;
  std::map<std::pair<std::string_view, DType>, KernelProfile> kernels;
  double inside = 0;
  for (size_t i = first; i < last; ++i) {
    const ProfiledStep& step = steps[i];
    ++profile.num_steps;
    profile.num_tokens += step.shape.num_tokens;
    inside += step.seconds();
    for (uint32_t d = 0; d < dispatches.size(); ++d) {
      const schema::Dispatch& dispatch = *dispatches.Get(d);
      const std::string_view name = plan.program()->kernels()->Get(dispatch.kernel())->name()->string_view();
      const auto products = static_cast<DType>(ProductType(plan, dispatch));
      KernelProfile& kernel = kernels[{name, products}];
      kernel.kernel = name;
      kernel.products = products;
      ++kernel.calls;
      kernel.seconds += step.seconds(d);
      kernel.cost += EstimateCost(plan, dispatch, step.shape);
    }
  }
  profile.between_seconds = std::max(0.0, seconds - inside);
  for (const auto& [key, kernel] : kernels) {
    profile.kernels.push_back(kernel);
  }
  std::sort(profile.kernels.begin(), profile.kernels.end(),
            [](const KernelProfile& a, const KernelProfile& b) { return a.seconds > b.seconds; });
  return profile;
}

void PrintProfile(std::FILE* file, std::string_view title, const Profile& profile, const cpu::MachinePeak& peak) {
  constexpr const char* kRow =
      "| {:<28} | {:>7} | {:>9} | {:>8} | {:>6} | {:>8} | {:>7} | {:>7} | {:>7} | {:>7} | {:>7} |\n";
  const auto line = [&](const auto&... cells) { fmt::print(file, fmt::runtime(kRow), cells...); };
  fmt::print(file, "\n{}: {} in {}, {:.1f} ms{}\n", title, Count(profile.num_tokens, "token"),
             Count(profile.num_steps, "step"), profile.seconds * 1e3,
             peak.read_bytes_per_second > 0 ? "; " + PeakText(peak) : "");
  line("kernel", "calls", "ms", "us/call", "time", "MB", "GB/s", "of read", "GFLOP", "GFLOP/s", "of peak");
  const std::string dashes(32, '-');
  fmt::print(file, "|:{:.28}-|-{:.7}:|-{:.9}:|-{:.8}:|-{:.6}:|-{:.8}:|-{:.7}:|-{:.7}:|-{:.7}:|-{:.7}:|-{:.7}:|\n",
             dashes, dashes, dashes, dashes, dashes, dashes, dashes, dashes, dashes, dashes, dashes);
  for (const KernelProfile& kernel : profile.kernels) {
    const double bytes = kernel.cost.bytes_touched(), flops = kernel.cost.flops;
    const std::string name =
        flops > 0 ? fmt::format("{} {}", kernel.kernel, DTypeName(kernel.products)) : std::string(kernel.kernel);
    line(name, kernel.calls, fmt::format("{:.2f}", kernel.seconds * 1e3),
         fmt::format("{:.1f}", kernel.seconds * 1e6 / static_cast<double>(kernel.calls)),
         fmt::format("{:.1f} %", 100 * Ratio(kernel.seconds, profile.seconds)), Short(bytes * 1e-6),
         Short(Ratio(bytes, kernel.seconds) * 1e-9), Percent(ReadShare(kernel, peak)), Short(flops * 1e-9),
         Short(Ratio(flops, kernel.seconds) * 1e-9), Percent(DotShare(kernel, peak)));
  }
  line("between dispatches", "", fmt::format("{:.2f}", profile.between_seconds * 1e3), "",
       fmt::format("{:.1f} %", 100 * Ratio(profile.between_seconds, profile.seconds)), "", "", "", "", "", "");
  std::fflush(file);
}

json ProfileJson(const Profile& profile, const cpu::MachinePeak& peak) {
  json kernels = json::array();
  for (const KernelProfile& kernel : profile.kernels) {
    json object = {{"kernel", kernel.kernel},
                   {"products", DTypeName(kernel.products)},
                   {"calls", kernel.calls},
                   {"seconds", kernel.seconds},
                   {"share_of_time", Ratio(kernel.seconds, profile.seconds)},
                   {"bytes", kernel.cost.bytes_touched()},
                   {"weight_bytes", kernel.cost.weight_bytes},
                   {"state_bytes", kernel.cost.state_bytes},
                   {"kv_bytes", kernel.cost.kv_bytes},
                   {"activation_bytes", kernel.cost.activation_bytes},
                   {"flops", kernel.cost.flops}};
    if (peak.read_bytes_per_second > 0) {
      object["share_of_read_bandwidth"] = ReadShare(kernel, peak);
      object["share_of_dot_peak"] = DotShare(kernel, peak);
    }
    kernels.push_back(std::move(object));
  }
  return {{"steps", profile.num_steps},
          {"tokens", profile.num_tokens},
          {"seconds", profile.seconds},
          {"between_seconds", profile.between_seconds},
          {"kernels", std::move(kernels)}};
}

json PeakJson(const cpu::MachinePeak& peak) {
  return {{"read_bytes_per_second", peak.read_bytes_per_second},
          {"bf16_flops_per_second", peak.bf16_flops},
          {"int8_ops_per_second", peak.int8_ops},
          {"f32_flops_per_second", peak.f32_flops}};
}

std::string PeakText(const cpu::MachinePeak& peak) {
  std::vector<std::string> rates;
  for (const auto& [flops, dtype] :
       {std::pair(peak.bf16_flops, "bf16"), std::pair(peak.int8_ops, "int8"), std::pair(peak.f32_flops, "f32")}) {
    if (flops > 0) {
      rates.push_back(fmt::format(" {:.0f}{} in {}", flops * 1e-9, rates.empty() ? " GFLOP/s" : "", dtype));
    }
  }
  return fmt::format("reads {:.1f} GB/s, dot products{}", peak.read_bytes_per_second * 1e-9, fmt::join(rates, ","));
}

std::string Percent(double share) { return share > 0 ? fmt::format("{:.0f} %", share * 100) : "-"; }

}  // namespace nemotron::tools
