#ifndef TOOLS_COMPARE_REPORT_H_
#define TOOLS_COMPARE_REPORT_H_

#include <cstdint>

#include "runtime/engine/compare.h"

namespace nemotron::tools {

/// What nemotron-run --compare prints to stdout: figures and, if they were compared, a line a layer; with `as_json` one
/// JSON object:
///
///   {"tokens": 2048, "positions": 2047, "window": 512,
///    "kl_divergence": {"mean": ..., "p99": ..., "max": ..., "max_token": 217},     nats
///    "top1_agreement": 0.99,
///    "perplexity": {"a": ..., "b": ..., "ratio_percent": 100.2},
///    "layers": [{"behind": "layers.3.norm", "layer": 3, "kind": "-", "relative_error": ..., "cosine": ...}, ...]}
///
/// "layers" is there with --layers only; its fields are those of LayerDifference, a relative error to zeros is null.
void PrintComparison(const runtime::Comparison& comparison, int64_t window, bool as_json);

}  // namespace nemotron::tools

#endif  // TOOLS_COMPARE_REPORT_H_
