#include "runtime/engine/session_file.h"

#include <xxhash.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <type_traits>
#include <utility>
#include <vector>

#include "runtime/base/dtype.h"
#include "runtime/base/file_writer.h"
#include "runtime/plan/layout.h"

namespace nemotron::runtime {
namespace {

constexpr char kMagic[8] = {'N', 'E', 'M', 'O', 'S', 'E', 'S', 'S'};
constexpr uint32_t kVersion = 2;
constexpr size_t kWriteBytes = 1 << 20;
constexpr uint64_t kMaxTokens = uint64_t{1} << 32;  // times 2^30 bytes a token stays within 64 bits

/// XXH3-64 over a series of values.
class Hasher {
 public:
  Hasher() : state_(XXH3_createState(), &XXH3_freeState) { XXH3_64bits_reset(state_.get()); }
  void Bytes(std::span<const std::byte> bytes) { XXH3_64bits_update(state_.get(), bytes.data(), bytes.size()); }
  template <typename T>
    requires(std::is_arithmetic_v<T> || std::is_enum_v<T>)
  void Value(T value) {
    Bytes(std::as_bytes(std::span(&value, 1)));
  }
  /// With its length, so that neighbouring texts cannot run into each other.
  void Text(const flatbuffers::String* text) {
    const std::string_view view = text == nullptr ? std::string_view() : text->string_view();
    Value<uint64_t>(view.size());
    Bytes(std::as_bytes(std::span(view)));
  }
  void Shape(const flatbuffers::Vector<int64_t>& shape) {
    Value<uint64_t>(shape.size());
    for (const int64_t size : shape) {
      Value(size);
    }
  }
  uint64_t Digest() const { return XXH3_64bits_digest(state_.get()); }

 private:
  std::unique_ptr<XXH3_state_t, decltype(&XXH3_freeState)> state_;
};

void HashDispatch(const schema::Program& program, const schema::Dispatch& dispatch, Hasher* hasher) {
  hasher->Text(program.kernels()->Get(dispatch.kernel())->name());
  hasher->Value<uint64_t>(dispatch.arguments()->size());
  for (const schema::Argument* argument : *dispatch.arguments()) {
    hasher->Text(argument->name());
    hasher->Value(argument->kind());
    hasher->Value(argument->index());
    hasher->Value(argument->column());
    hasher->Value(argument->columns());
  }
  hasher->Value<uint64_t>(dispatch.parameters() == nullptr ? 0 : dispatch.parameters()->size());
  if (dispatch.parameters() != nullptr) {
    for (const schema::Parameter* parameter : *dispatch.parameters()) {
      hasher->Text(parameter->name());
      hasher->Value(parameter->type());
      hasher->Value(parameter->int_value());
      hasher->Value(parameter->float_value());
      hasher->Text(parameter->string_value());
    }
  }
}

bool IsForCpu(const Plan& plan) { return plan.root().target()->string_view() == "cpu"; }

/// What lies together in a page of the KV cache. On the CPU, panel of 16 tokens after panel: the keys of a head, or 16
/// dimensions of its values (runtime/cpu/kernels/attention.cc). On a GPU, token after token: the keys or the values of
/// a head (codegen/cuda/kernels/attention_tiles.cuh).
struct CachePlane {
  int64_t offset;       ///< bytes from the start of a page
  int64_t token_bytes;  ///< of one token
};

std::vector<CachePlane> CachePlanes(const Plan& plan, int64_t page_tokens) {
  std::vector<CachePlane> planes;
  for (const schema::State* state : *plan.root().states()) {
    if (state->kind() != schema::StateKind::KvCache) {
      continue;
    }
    const int64_t num_heads = state->shape()->Get(1);
    const int64_t head_panels = NumPanels(state->shape()->Get(2));
    const int64_t panel_bytes = kPanelRows * SizeOf(static_cast<DType>(state->dtype()));
    int64_t offset = static_cast<int64_t>(state->offset_bytes()) * page_tokens;
    const auto add = [&](int64_t count, int64_t token_bytes) {
      for (int64_t i = 0; i < count; ++i) {
        planes.push_back({offset, token_bytes});
        offset += token_bytes * page_tokens;
      }
    };
    add(num_heads, head_panels * panel_bytes);
    if (IsForCpu(plan)) {
      add(num_heads * head_panels, panel_bytes);
    } else {
      add(num_heads, head_panels * panel_bytes);
    }
  }
  return planes;
}

/// Tokens whose keys and values are saved: on the CPU whole panels, of which the kernel clears one when it begins it,
/// so that the last one ends with zeros.
int64_t SavedTokens(const Plan& plan, int64_t num_tokens) {
  return IsForCpu(plan) ? RoundUpToPanels(num_tokens) : num_tokens;
}

int64_t CacheBytesPerToken(const Plan& plan) {
  int64_t bytes = 0;
  for (const CachePlane& plane : CachePlanes(plan, /*page_tokens=*/1)) {
    bytes += plane.token_bytes;
  }
  return bytes;
}

/// Calls `visit(page_address, bytes)` for the used part of every plane of every page, in the order of the file.
template <typename Visitor>
Status ForEachCacheRun(const Plan& plan, const SequenceTable::Geometry& geometry, const Sequence& sequence,
                       int64_t num_tokens, const Visitor& visit) {
  for (const CachePlane& plane : CachePlanes(plan, geometry.page_tokens)) {
    for (size_t page = 0; page < sequence.pages.size(); ++page) {
      const int64_t first = static_cast<int64_t>(page) * geometry.page_tokens;
      const int64_t count = std::min(geometry.page_tokens, SavedTokens(plan, num_tokens) - first);
      if (count <= 0) {
        break;
      }
      RETURN_IF_ERROR(visit(sequence.pages[page] + plane.offset, count * plane.token_bytes));
    }
  }
  return OkStatus();
}

}  // namespace

uint64_t PlanIdentity(const Plan& plan) {
  const schema::Plan& root = plan.root();
  Hasher hasher;
  hasher.Text(root.target());
  hasher.Value(root.model()->vocab_size());
  hasher.Value(root.slot_bytes());
  hasher.Value<uint64_t>(root.weights()->size());
  for (const schema::Weight* weight : *root.weights()) {
    hasher.Text(weight->name());
    hasher.Value(weight->dtype());
    hasher.Value(weight->layout());
    hasher.Shape(*weight->shape());
    hasher.Value(weight->segment()->checksum());
  }
  hasher.Value<uint64_t>(root.states()->size());
  for (const schema::State* state : *root.states()) {
    hasher.Text(state->name());
    hasher.Value(state->kind());
    hasher.Value(state->dtype());
    hasher.Shape(*state->shape());
    hasher.Value(state->offset_bytes());
  }
  hasher.Value<uint64_t>(root.program()->dispatches()->size());
  for (const schema::Dispatch* dispatch : *root.program()->dispatches()) {
    HashDispatch(*root.program(), *dispatch, &hasher);
  }
  return hasher.Digest();
}

Status SaveSession(const Plan& plan, Device& device, const SequenceTable::Geometry& geometry, const Sequence& sequence,
                   const std::string& path) {
  ASSIGN_OR_RETURN(FileWriter file, FileWriter::Create(path));
  SessionHeader header = {};
  RETURN_IF_ERROR(file.Append(std::as_bytes(std::span(&header, 1))));
  Hasher checksum;
  std::vector<std::byte> staging;  // runs are short: many of them make one write
  const auto flush = [&]() {
    checksum.Bytes(staging);
    Status status = file.Append(staging);
    staging.clear();
    return status;
  };
  const auto write_from_device = [&](const std::byte* source, int64_t size_bytes) {
    const size_t end = staging.size();
    staging.resize(end + static_cast<size_t>(size_bytes));
    RETURN_IF_ERROR(device.CopyToHost(staging.data() + end, source, size_bytes));
    return staging.size() >= kWriteBytes ? flush() : OkStatus();
  };
  const std::span<const std::byte> token_bytes = std::as_bytes(std::span(sequence.tokens));
  staging.assign(token_bytes.begin(), token_bytes.end());
  if (geometry.slot_bytes > 0) {
    RETURN_IF_ERROR(write_from_device(sequence.slot, geometry.slot_bytes));
  }
  uint64_t cache_bytes = 0;
  RETURN_IF_ERROR(
      ForEachCacheRun(plan, geometry, sequence, sequence.length(), [&](const std::byte* source, int64_t size_bytes) {
        cache_bytes += static_cast<uint64_t>(size_bytes);
        return write_from_device(source, size_bytes);
      }));
  RETURN_IF_ERROR(flush());
  std::memcpy(header.magic, kMagic, sizeof(kMagic));
  header.version = kVersion;
  header.plan_identity = PlanIdentity(plan);
  header.num_tokens = static_cast<uint64_t>(sequence.length());
  header.slot_bytes = static_cast<uint64_t>(geometry.slot_bytes);
  header.cache_bytes = cache_bytes;
  header.payload_checksum = checksum.Digest();
  header.header_checksum = XXH3_64bits(&header, offsetof(SessionHeader, header_checksum));
  RETURN_IF_ERROR(file.WriteAt(0, std::as_bytes(std::span(&header, 1))));
  return file.Commit();
}

StatusOr<SessionFile> SessionFile::Open(const Plan& plan, const std::string& path) {
  SessionFile session;
  ASSIGN_OR_RETURN(session.file_, MappedFile::Open(path));
  const std::span<const std::byte> bytes = session.file_.bytes();
  SessionHeader header;
  if (bytes.size() < sizeof(header) || std::memcmp(bytes.data(), kMagic, sizeof(kMagic)) != 0) {
    return DataLoss("'{}' is not a session file: it has {} bytes and does not begin with a 'NEMOSESS' header", path,
                    bytes.size());
  }
  std::memcpy(&header, bytes.data(), sizeof(header));
  if (XXH3_64bits(&header, offsetof(SessionHeader, header_checksum)) != header.header_checksum) {
    return DataLoss("session '{}' has a damaged header: its checksum is not {:016x}", path, header.header_checksum);
  }
  if (header.version != kVersion || header.reserved != 0) {
    return Unimplemented("session '{}' has version {}, but this build reads {}", path, header.version, kVersion);
  }
  const uint64_t identity = PlanIdentity(plan);
  if (header.plan_identity != identity) {
    return InvalidArgument("session '{}' belongs to another plan: it was saved with plan {:016x}, this is {:016x}",
                           path, header.plan_identity, identity);
  }
  const auto cache_bytes_per_token = static_cast<uint64_t>(CacheBytesPerToken(plan));
  if (header.num_tokens > kMaxTokens || header.slot_bytes != plan.root().slot_bytes() ||
      header.cache_bytes !=
          static_cast<uint64_t>(SavedTokens(plan, static_cast<int64_t>(header.num_tokens))) * cache_bytes_per_token) {
    return DataLoss(
        "session '{}' says {} tokens, {} bytes of state and {} of cache, expected {} of state and {} of cache "
        "a token, in panels of 16",
        path, header.num_tokens, header.slot_bytes, header.cache_bytes, plan.root().slot_bytes(),
        cache_bytes_per_token);
  }
  const uint64_t token_bytes = header.num_tokens * sizeof(int32_t);
  const std::span<const std::byte> payload = bytes.subspan(sizeof(header));
  if (payload.size() != token_bytes + header.slot_bytes + header.cache_bytes) {
    return DataLoss("session '{}' has {} bytes behind its header, expected {}", path, payload.size(),
                    token_bytes + header.slot_bytes + header.cache_bytes);
  }
  const uint64_t checksum = XXH3_64bits(payload.data(), payload.size());
  if (checksum != header.payload_checksum) {
    return DataLoss("session '{}' has checksum {:016x}, expected {:016x}: it is damaged", path, checksum,
                    header.payload_checksum);
  }
  // The header has 64 bytes and a mapping starts at a page, so the ids are aligned.
  session.tokens_ = {reinterpret_cast<const int32_t*>(payload.data()), header.num_tokens};
  session.slot_ = payload.subspan(token_bytes, header.slot_bytes);
  session.cache_ = payload.subspan(token_bytes + header.slot_bytes);
  const auto vocab_size = static_cast<int64_t>(plan.root().model()->vocab_size());
  for (const int32_t token : session.tokens_) {
    if (token < 0 || token >= vocab_size) {
      return DataLoss("session '{}' holds token id {}, expected 0 to {}", path, token, vocab_size - 1);
    }
  }
  return session;
}

Status SessionFile::CopyTo(const Plan& plan, Device& device, const SequenceTable::Geometry& geometry,
                           Sequence& sequence) const {
  if (!slot_.empty()) {
    RETURN_IF_ERROR(device.CopyFromHost(sequence.slot, slot_.data(), static_cast<int64_t>(slot_.size())));
  }
  const std::byte* source = cache_.data();
  return ForEachCacheRun(plan, geometry, sequence, static_cast<int64_t>(tokens_.size()),
                         [&](std::byte* target, int64_t size_bytes) {
                           const std::byte* from = std::exchange(source, source + size_bytes);
                           return device.CopyFromHost(target, from, size_bytes);
                         });
}

}  // namespace nemotron::runtime
