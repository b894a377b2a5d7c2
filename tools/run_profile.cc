#include "tools/run_profile.h"

#include <tuple>
#include <utility>

#include "tools/trace_file.h"

namespace nemotron::tools {

using namespace nemotron::runtime;  // NOLINT: a tool is made of nothing else

StatusOr<std::unique_ptr<RunProfile>> RunProfile::Start(Engine& engine, const std::string& trace_path) {
  std::unique_ptr<RunProfile> profile(new RunProfile(engine));
  if (!trace_path.empty()) {
    ASSIGN_OR_RETURN(FileWriter trace, FileWriter::Create(trace_path));
    profile->trace_.emplace(std::move(trace));
  }
  if (engine.device_name() == "cpu") {
    ASSIGN_OR_RETURN(cpu::ThreadPool * pool, profile->threads_.StartThreads());
    profile->peak_ = profile->meter_.emplace(*pool).Measure();
  } else {
    ASSIGN_OR_RETURN(profile->counters_, cuda::LaunchCounters::Start());
  }
  profile->scope_.emplace(engine, &profile->profiler_);
  return profile;
}

Status RunProfile::Finish(const GenerationResult& result) {
  scope_.reset();
  if (meter_.has_value()) {
    peak_ = cpu::BetterOf(peak_, meter_->Measure());
  }
  if (counters_ != nullptr) {
    (num_prefill_steps_.has_value() ? decode_counts_ : prefill_counts_) = counters_->Take();
    counters_.reset();
  }
  const std::deque<ProfiledStep>& steps = profiler_.steps();
  const size_t num_prefill = num_prefill_steps_.value_or(steps.size());
  const schema::Plan& plan = engine_.plan().root();
  prefill_ = SummarizeProfile(plan, steps, 0, num_prefill, result.prefill_ms * 1e-3);
  decode_ = SummarizeProfile(plan, steps, num_prefill, steps.size(), result.decode_ms * 1e-3);
  if (trace_.has_value()) {
    RETURN_IF_ERROR(WriteTrace(*trace_, engine_.plan(), steps, num_prefill));
    RETURN_IF_ERROR(trace_->Commit());
  }
  return OkStatus();
}

void RunProfile::EndPrefill() {
  num_prefill_steps_ = profiler_.steps().size();
  if (counters_ != nullptr) {
    prefill_counts_ = counters_->Take();
  }
}

void RunProfile::Print() const {
  for (const auto& [title, profile, counts] :
       {std::tuple("prefill", &prefill_, &prefill_counts_), std::tuple("decode", &decode_, &decode_counts_)}) {
    if (profile->num_steps > 0) {
      PrintProfile(stderr, title, *profile, peak_);
      PrintCounts(stderr, title, *counts);
    }
  }
}

nlohmann::json RunProfile::ToJson() const {
  nlohmann::json prefill = ProfileJson(prefill_, peak_), decode = ProfileJson(decode_, peak_);
  if (!prefill_counts_.empty()) {
    prefill["counters"] = CountsJson(prefill_counts_);
    decode["counters"] = CountsJson(decode_counts_);
  }
  return {{"peak", PeakJson(peak_)}, {"prefill", std::move(prefill)}, {"decode", std::move(decode)}};
}

}  // namespace nemotron::tools
