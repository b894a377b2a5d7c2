#include "tools/run_profile.h"

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
  ASSIGN_OR_RETURN(cpu::ThreadPool * pool, profile->threads_.StartThreads());
  profile->peak_ = profile->meter_.emplace(*pool).Measure();
  profile->scope_.emplace(engine, &profile->profiler_);
  return profile;
}

Status RunProfile::Finish(const GenerationResult& result) {
  scope_.reset();
  peak_ = cpu::BetterOf(peak_, meter_->Measure());
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

void RunProfile::Print() const {
  PrintProfile(stderr, "prefill", prefill_, peak_);
  if (decode_.num_steps > 0) {
    PrintProfile(stderr, "decode", decode_, peak_);
  }
}

nlohmann::json RunProfile::ToJson() const {
  return {
      {"peak", PeakJson(peak_)}, {"prefill", ProfileJson(prefill_, peak_)}, {"decode", ProfileJson(decode_, peak_)}};
}

}  // namespace nemotron::tools
