#ifndef TOOLS_RUN_REPORT_H_
#define TOOLS_RUN_REPORT_H_

#include <cstdint>
#include <nlohmann/json.hpp>
#include <span>
#include <string>

#include "runtime/engine/engine.h"
#include "runtime/engine/generator.h"

namespace nemotron::tools {

/// What nemotron-run has to say about one generation.
struct RunReport {
  std::span<const int32_t> prompt;
  const runtime::GenerationResult& result;
  const runtime::SamplingOptions& sampling;
  const runtime::Tokenizer* tokenizer;  ///< may be null
  double load_ms;
  nlohmann::json profile = {};  ///< null: none
};

/// One JSON object on stdout, text included.
void PrintJson(const RunReport& report);
/// After streamed text: ends its line on stdout (without a tokenizer, prints the ids), and figures to stderr.
void PrintTextEnd(const RunReport& report);
void PrintMemory(const runtime::MemoryReport& report, bool as_json);

/// Things a second.
double Rate(int64_t count, double milliseconds);
/// JSON text of what may not be UTF-8; that becomes U+FFFD.
std::string Dump(const nlohmann::json& value, int indent = -1);

}  // namespace nemotron::tools

#endif  // TOOLS_RUN_REPORT_H_
