#ifndef RUNTIME_BASE_PAGES_H_
#define RUNTIME_BASE_PAGES_H_

#include <cstddef>
#include <cstdint>
#include <span>

#include "runtime/base/status.h"

namespace nemotron::runtime {

/// Zero-filled memory, aligned to 4096 bytes, in huge pages where it is large and the system has them. Takes memory
/// only where it is touched. Free it with `UnmapPages`. kResourceExhausted if the system has none.
StatusOr<std::byte*> MapPages(int64_t size_bytes);
void UnmapPages(std::byte* data, int64_t size_bytes);

/// Waits until all of `bytes`, of a mapped file, is in memory. Where touching a page that the disk does not give would
/// end the process, this is kUnavailable; kResourceExhausted if there is no memory.
Status PopulatePages(std::span<const std::byte> bytes);

}  // namespace nemotron::runtime

#endif  // RUNTIME_BASE_PAGES_H_
