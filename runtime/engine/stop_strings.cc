#include "runtime/engine/stop_strings.h"

#include <algorithm>

namespace nemotron::runtime {

StopStrings::StopStrings(const std::vector<std::string>& stops) {
  std::copy_if(stops.begin(), stops.end(), std::back_inserter(stops_), [](const auto& stop) { return !stop.empty(); });
}

void StopStrings::Feed(std::string_view text, std::string* out) {
  if (stopped_) {
    return;
  }
  held_ += text;
  size_t match_begin = std::string::npos, match_end = std::string::npos;
  for (const std::string& stop : stops_) {
    const size_t begin = held_.find(stop);
    if (begin == std::string::npos) {
      continue;
    }
    const size_t end = begin + stop.size();
    if (end < match_end || (end == match_end && begin < match_begin)) {
      match_begin = begin;
      match_end = end;
    }
  }
  if (match_begin != std::string::npos) {
    out->append(held_, 0, match_begin);
    held_.clear();
    stopped_ = true;
    return;
  }
  // The longest tail that a stop string starts with.
  size_t keep = 0;
  for (const std::string& stop : stops_) {
    for (size_t length = std::min(stop.size() - 1, held_.size()); length > keep; --length) {
      if (held_.compare(held_.size() - length, length, stop, 0, length) == 0) {
        keep = length;
        break;
      }
    }
  }
  out->append(held_, 0, held_.size() - keep);
  held_.erase(0, held_.size() - keep);
}

void StopStrings::Flush(std::string* out) {
  out->append(held_);
  held_.clear();
}

}  // namespace nemotron::runtime
