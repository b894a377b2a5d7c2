#ifndef RUNTIME_PLAN_PLAN_H_
#define RUNTIME_PLAN_PLAN_H_

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "runtime/base/status.h"
#include "runtime/plan/plan_generated.h"

namespace nemotron::runtime {

/// A plan file, mapped and checked: after `Load` every offset, size, index, shape and string of the metadata was
/// verified, so that users may trust the flatbuffer (but kernels still check what a dispatch means, in their Prepare).
/// Immutable and safe to share between threads.
class Plan {
 public:
  struct LoadOptions {
    enum class VerifyWeights { kAuto, kAlways, kNever };
    /// Whether the checksums of the segments are compared: kAuto does so for files up to 256 MiB.
    VerifyWeights verify_weights = VerifyWeights::kAuto;
    std::string path = {};  ///< what `path()` says of a plan in memory
  };

  /// Maps and checks `path`. Errors: kNotFound, kDataLoss (truncated, checksum, inconsistent), kUnimplemented (a newer
  /// version, an unknown target), each naming the path, the field, and what was found and expected.
  static StatusOr<std::shared_ptr<const Plan>> Load(const std::string& path, const LoadOptions& options);
  static StatusOr<std::shared_ptr<const Plan>> Load(const std::string& path) { return Load(path, LoadOptions()); }

  /// The same for a plan in memory, at an address that is a multiple of 64. The result keeps `owner`, which keeps the
  /// bytes; if it is null, they must outlive the result.
  static StatusOr<std::shared_ptr<const Plan>> FromBytes(std::span<const std::byte> bytes, const LoadOptions& options,
                                                         std::shared_ptr<const void> owner = nullptr);

  const schema::Plan& root() const { return *root_; }
  std::span<const std::byte> SegmentBytes(const schema::Segment& segment) const {
    return bytes_.subspan(segment.offset_bytes(), segment.size_bytes());
  }
  std::span<const std::byte> bytes() const { return bytes_; }
  /// Of the file, or of the one whose plan this was made of; empty for a plan in memory.
  const std::string& path() const { return path_; }

  /// Compares the checksum of every segment with its bytes; names the first weight that differs.
  Status VerifySegments() const;

  /// Sum of the sizes of all weight segments.
  int64_t weight_bytes() const { return weight_bytes_; }

 private:
  Plan() = default;
  std::shared_ptr<const void> owner_;  // of bytes_
  std::span<const std::byte> bytes_;
  const schema::Plan* root_ = nullptr;
  std::string path_;
  int64_t weight_bytes_ = 0;
};

}  // namespace nemotron::runtime

#endif  // RUNTIME_PLAN_PLAN_H_
