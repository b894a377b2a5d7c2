//===- RandomWeights.cpp - a checkpoint of any shape without files ------------------------------------------------===//
#include "frontends/huggingface/RandomWeights.h"

#include <array>
#include <cmath>
#include <cstring>

#include "frontends/huggingface/Hash.h"
#include "frontends/huggingface/Manifest.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringMap.h"

using namespace nemotron;
using namespace nemotron::frontends;
using llvm::StringRef;
using runtime::DType;

namespace {

/// Matrices draw from a table of 2^12 quantiles of a normal distribution: a hash of 64 bits gives four elements, and
/// the table of BF16 values stays in the first-level cache. Computing normals one by one would take 20 times as long.
constexpr int kTableBits = 12;
constexpr int64_t kTableSize = int64_t{1} << kTableBits;
constexpr int64_t kElementsPerHash = 4;

/// The mix of splitmix64: each bit of the result depends on each bit of `x`.
constexpr uint64_t mixBits(uint64_t x) {
  x += 0x9E3779B97F4A7C15u;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
  return x ^ (x >> 31);
}

/// Inverse of the normal distribution function for 0 < p < 1, by bisection on erfc.
double normalQuantile(double p) {
  double low = -8, high = 8;
  for (int i = 0; i < 60; ++i) {
    const double middle = (low + high) / 2;
    (0.5 * std::erfc(-middle / std::sqrt(2.0)) < p ? low : high) = middle;
  }
  return (low + high) / 2;
}

using NormalTable = std::array<double, kTableSize>;
const NormalTable &normalTable() {
  static const NormalTable table = [] {
    NormalTable t;
    for (int64_t i = 0; i < kTableSize; ++i)
      t[i] = normalQuantile((static_cast<double>(i) + 0.5) / kTableSize);
    return t;
  }();
  return table;
}

DType dtypeOf(TensorRole role) {
  switch (role) {
  case TensorRole::ALog:
  case TensorRole::SkipD:
  case TensorRole::DtBias:
  case TensorRole::CorrectionBias:
    return DType::kF32;
  default:
    return DType::kBF16;
  }
}

/// Standard deviation of the elements; 0 if they are not drawn from a normal distribution.
double deviationOf(const TensorSpec &spec) {
  switch (spec.role) {
  case TensorRole::Embedding:
  case TensorRole::Matrix:
  case TensorRole::Router:
  case TensorRole::Conv:
    return 1.0 / std::sqrt(static_cast<double>(spec.shape.back()));
  case TensorRole::Bias:
    return 0.02;
  default:
    return 0;
  }
}

/// An element of a role without table; `u` is uniform in [0, 1).
float drawValue(TensorRole role, double u) {
  switch (role) {
  case TensorRole::ALog:
    return static_cast<float>(std::log(1.0 + 15.0 * u));
  case TensorRole::DtBias: {
    const double dt = std::exp(std::log(1e-3) + u * (std::log(0.1) - std::log(1e-3)));
    return static_cast<float>(dt + std::log(-std::expm1(-dt))); // softplus of this is dt
  }
  case TensorRole::Norm:
  case TensorRole::SkipD:
    return 1;
  default: // OffsetNorm, CorrectionBias
    return 0;
  }
}

class RandomWeights : public TensorSource {
public:
  RandomWeights(const ModelConfig &config, uint64_t seed) : specs(listExpectedTensors(config)), seed(seed) {
    Hasher hasher;
    hasher.add(common(config).text);
    hasher.add("random weights " + std::to_string(seed));
    hashText = hasher.finish();
    for (auto [index, spec] : llvm::enumerate(specs)) {
      indexOf[spec.name] = index;
      sortedNames.push_back(spec.name);
    }
    llvm::sort(sortedNames);
  }

  llvm::ArrayRef<std::string> names() const override { return sortedNames; }
  std::string fileOf(StringRef) const override { return "random weights"; }
  std::string hash() const override { return hashText; }

  std::optional<Tensor> lookup(std::string_view source) const override {
    auto it = indexOf.find(StringRef(source));
    if (it == indexOf.end())
      return std::nullopt;
    const TensorSpec &spec = specs[it->second];
    return Tensor{dtypeOf(spec.role), {spec.shape.begin(), spec.shape.end()}};
  }

  runtime::Status read(std::string_view source, int64_t offset, std::span<std::byte> bytes) override;

private:
  /// Makes `count` elements from `first`, a multiple of kElementsPerHash, as they lie on disk.
  void generate(int64_t first, int64_t count, std::byte *out) const;
  void enter(size_t index);

  std::vector<TensorSpec> specs;
  std::vector<std::string> sortedNames;
  llvm::StringMap<size_t> indexOf;
  std::string hashText;
  uint64_t seed;

  /// The tensor that was read last: its spec, the seed of its elements, its table (if normal).
  const TensorSpec *current = nullptr;
  uint64_t currentSeed = 0;
  bool isNormal = false;
  std::array<uint16_t, kTableSize> table;
};

void RandomWeights::enter(size_t index) {
  if (current == &specs[index])
    return;
  current = &specs[index];
  currentSeed = mixBits(hashBytes(current->name) ^ mixBits(seed));
  const double deviation = deviationOf(*current);
  isNormal = deviation > 0;
  if (isNormal)
    llvm::transform(normalTable(), table.begin(),
                    [&](double x) { return runtime::F32ToBF16(static_cast<float>(x * deviation)); });
}

void RandomWeights::generate(int64_t first, int64_t count, std::byte *out) const {
  if (isNormal) {
    for (int64_t i = 0; i < count; i += kElementsPerHash) {
      const uint64_t hash = mixBits(currentSeed + static_cast<uint64_t>((first + i) / kElementsPerHash));
      uint16_t values[kElementsPerHash];
      for (int64_t k = 0; k < kElementsPerHash; ++k)
        values[k] = table[(hash >> (k * kTableBits)) & (kTableSize - 1)];
      std::memcpy(out + i * sizeof(uint16_t), values, sizeof(values));
    }
    return;
  }
  for (int64_t i = 0; i < count; ++i) {
    const double u = static_cast<double>(mixBits(currentSeed + static_cast<uint64_t>(first + i)) >> 11) * 0x1p-53;
    const float value = drawValue(current->role, u);
    if (dtypeOf(current->role) == DType::kF32) {
      std::memcpy(out + i * sizeof(float), &value, sizeof(value));
    } else {
      const uint16_t rounded = runtime::F32ToBF16(value);
      std::memcpy(out + i * sizeof(uint16_t), &rounded, sizeof(rounded));
    }
  }
}

runtime::Status RandomWeights::read(std::string_view source, int64_t offset, std::span<std::byte> bytes) {
  auto it = indexOf.find(StringRef(source));
  if (it == indexOf.end())
    return runtime::Error(runtime::StatusCode::kNotFound, "no tensor '{}' among the random weights", source);
  enter(it->second);
  const int64_t elementSize = runtime::SizeOf(dtypeOf(current->role));
  const int64_t size = static_cast<int64_t>(bytes.size()), total = current->numElements() * elementSize;
  if (offset < 0 || offset > total || size > total - offset)
    return runtime::InvalidArgument("bytes [{}, {}) of tensor '{}', which has {}", offset, offset + size, source,
                                    total);

  // Through a buffer, so that the range may start and end anywhere, also inside an element.
  constexpr int64_t kChunk = 4096;
  alignas(64) std::array<std::byte, kChunk * sizeof(float)> buffer;
  for (int64_t done = 0; done < size;) {
    const int64_t first = (offset + done) / elementSize / kElementsPerHash * kElementsPerHash;
    const int64_t skip = offset + done - first * elementSize;
    const int64_t take = std::min(size - done, kChunk * elementSize - skip);
    const int64_t count = llvm::alignTo((skip + take + elementSize - 1) / elementSize, kElementsPerHash);
    generate(first, count, buffer.data());
    std::memcpy(bytes.data() + done, buffer.data() + skip, take);
    done += take;
  }
  return runtime::OkStatus();
}

} // namespace

std::unique_ptr<TensorSource> nemotron::frontends::makeRandomWeights(const ModelConfig &config, uint64_t seed) {
  return std::make_unique<RandomWeights>(config, seed);
}
