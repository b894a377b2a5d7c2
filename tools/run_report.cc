#include "tools/run_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <utility>
#include <vector>

#include "runtime/engine/memory.h"

namespace nemotron::tools {
namespace {

using namespace nemotron::runtime;  // NOLINT: a tool is made of nothing else
using nlohmann::json;

/// Tokens that were drawn after a step of their own, which is what decode_ms counts.
int64_t DecodedTokens(const GenerationResult& result) {
  return std::max<int64_t>(0, static_cast<int64_t>(result.tokens.size()) - 1);
}

std::string TokenText(const Tokenizer* tokenizer, int32_t token) {
  if (tokenizer == nullptr) {
    return "";
  }
  const auto bytes = tokenizer->TokenBytes(token);
  return bytes.ok() ? *bytes : "";
}

json LogprobJson(const Tokenizer* tokenizer, const SampledToken& token) {
  json top = json::array();
  for (const TokenLogprob& other : token.top) {
    top.push_back({{"token_id", other.token}, {"text", TokenText(tokenizer, other.token)}, {"logprob", other.logprob}});
  }
  return {{"token_id", token.token},
          {"text", TokenText(tokenizer, token.token)},
          {"logprob", token.logprob},
          {"top", std::move(top)}};
}

}  // namespace

double Rate(int64_t count, double milliseconds) {
  return milliseconds > 0 ? static_cast<double>(count) * 1000 / milliseconds : 0;
}

std::string Dump(const json& value, int indent) {
  return value.dump(indent, ' ', false, json::error_handler_t::replace);
}

void PrintTextEnd(const RunReport& report) {
  const GenerationResult& result = report.result;
  if (report.tokenizer == nullptr) {
    fmt::print("{}\n", json(result.tokens).dump());  // no text to show: the ids
  } else if (!result.text.empty()) {
    fmt::print("\n");
  }
  std::fflush(stdout);
  if (report.sampling.num_logprobs > 0) {
    for (const SampledToken& token : result.sampled) {
      fmt::print(stderr, "{}\n", Dump(LogprobJson(report.tokenizer, token)));
    }
  }
  const std::string seed = report.sampling.temperature > 0 ? fmt::format(", seed {}", report.sampling.seed) : "";
  fmt::print(stderr, "\nprompt {} tokens, {:.1f} tokens/s; generated {} tokens, {:.1f} tokens/s; finish {}{}\n",
             result.prompt_tokens, Rate(result.prompt_tokens, result.prefill_ms), result.tokens.size(),
             Rate(DecodedTokens(result), result.decode_ms), FinishReasonName(result.finish), seed);
}

void PrintJson(const RunReport& report) {
  const GenerationResult& result = report.result;
  json object = {{"text", result.text},
                 {"token_ids", result.tokens},
                 {"prompt_token_ids", std::vector<int32_t>(report.prompt.begin(), report.prompt.end())},
                 {"finish_reason", FinishReasonName(result.finish)},
                 {"seed", report.sampling.seed},
                 {"timings",
                  {{"load_ms", report.load_ms},
                   {"prefill_ms", result.prefill_ms},
                   {"prefill_tokens", result.prompt_tokens},
                   {"prefill_tokens_per_second", Rate(result.prompt_tokens, result.prefill_ms)},
                   {"decode_ms", result.decode_ms},
                   {"decode_tokens", DecodedTokens(result)},
                   {"decode_tokens_per_second", Rate(DecodedTokens(result), result.decode_ms)}}}};
  if (report.sampling.num_logprobs > 0) {
    object["logprobs"] = json::array();
    for (const SampledToken& token : result.sampled) {
      object["logprobs"].push_back(LogprobJson(report.tokenizer, token));
    }
  }
  if (!report.profile.is_null()) {
    object["profile"] = report.profile;
  }
  fmt::print("{}\n", Dump(object, 2));
}

void PrintMemory(const MemoryReport& report, bool as_json) {
  if (as_json) {
    fmt::print("{}\n", json({{"weight_bytes", report.weight_bytes},
                             {"maps_weights", report.maps_weights},
                             {"slot_bytes", report.slot_bytes},
                             {"page_bytes", report.page_bytes},
                             {"workspace_bytes", report.workspace_bytes},
                             {"total_bytes", report.total_bytes()},
                             {"available_bytes", report.available_bytes},
                             {"num_slots", report.num_slots},
                             {"num_pages", report.num_pages},
                             {"page_tokens", report.page_tokens},
                             {"note", report.note}})
                           .dump(2));
    return;
  }
  const auto line = [](const char* name, int64_t bytes, const std::string& detail) {
    fmt::print("{:<10} {:>11}{}{}\n", name, FormatBytes(bytes), detail.empty() ? "" : "  ", detail);
  };
  line("weights", report.weight_bytes, report.maps_weights ? "mapped from the file" : "");
  line("state", report.slot_bytes, fmt::format("{} sequences", report.num_slots));
  line("KV cache", report.page_bytes, fmt::format("{} pages of {} tokens", report.num_pages, report.page_tokens));
  line("workspace", report.workspace_bytes, "");
  line("total", report.total_bytes(), fmt::format("of {}", FormatBytes(report.available_bytes)));
}

}  // namespace nemotron::tools
