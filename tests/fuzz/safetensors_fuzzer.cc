// Any bytes are a safetensors file or an error, and what the header promises lies within the bytes.

#include <cstdint>
#include <cstdlib>
#include <numeric>
#include <span>

#include "runtime/base/safetensors.h"

namespace {

void Check(bool condition) {
  if (!condition) {
    std::abort();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace nemotron::runtime;
  const auto bytes = std::as_bytes(std::span(data, size));
  const auto header = ParseSafetensors(bytes);
  if (!header.ok()) {
    Check(!header.status().message().empty());
    return 0;
  }
  unsigned sum = 0;
  int64_t end = 0;
  for (const SafetensorsEntry& entry : header->entries) {
    Check(entry.offset_bytes >= 8 && entry.offset_bytes >= end && entry.size_bytes >= 0);
    end = entry.offset_bytes + entry.size_bytes;
    Check(end <= static_cast<int64_t>(size));
    int64_t elements = 1;
    for (const int64_t dim : entry.shape) {
      Check(dim >= 0);
      elements *= dim;
    }
    Check(elements * SizeOf(entry.dtype) == entry.size_bytes);
    for (const std::byte byte : bytes.subspan(entry.offset_bytes, entry.size_bytes)) {
      sum += static_cast<unsigned>(byte);  // AddressSanitizer looks at each
    }
  }
  volatile unsigned used = sum;
  (void)used;
  return 0;
}
