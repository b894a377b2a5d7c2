#include "runtime/tokenizer/bpe.h"

#include <algorithm>
#include <bit>
#include <limits>

#include "runtime/tokenizer/component.h"
#include "runtime/tokenizer/utf8.h"

namespace nemotron::runtime {
namespace {

constexpr uint64_t kNoKey = ~uint64_t{0};
constexpr char32_t kNumDirectChars = 0x144;  // ASCII, Latin-1 and the characters of byte-level BPE

uint64_t PairKey(int32_t left, int32_t right) {
  return uint64_t{static_cast<uint32_t>(left)} << 32 | static_cast<uint32_t>(right);
}

/// Splits "left right", the older form of a merge.
std::optional<std::pair<std::string_view, std::string_view>> SplitMerge(std::string_view merge) {
  const size_t space = merge.find(' ');
  if (space == std::string_view::npos || merge.find(' ', space + 1) != std::string_view::npos) {
    return std::nullopt;
  }
  return std::pair(merge.substr(0, space), merge.substr(space + 1));
}

}  // namespace

MergeTable::MergeTable(size_t count) : slots_(std::bit_ceil(count + count / 2 + 1), Slot{kNoKey, {}}) {}

size_t MergeTable::SlotOf(uint64_t key) const {
  const size_t mask = slots_.size() - 1;
  const uint64_t mixed = key * 0x9E3779B97F4A7C15u;  // the golden ratio spreads ids that follow each other
  size_t slot = (mixed ^ mixed >> 32) & mask;
  while (slots_[slot].key != kNoKey && slots_[slot].key != key) {
    slot = (slot + 1) & mask;
  }
  return slot;
}

void MergeTable::Insert(int32_t left, int32_t right, const Merge& merge) {
  const uint64_t key = PairKey(left, right);
  slots_[SlotOf(key)] = {key, merge};
}

const MergeTable::Merge* MergeTable::Find(int32_t left, int32_t right) const {
  const Slot& slot = slots_[SlotOf(PairKey(left, right))];
  return slot.key == kNoKey ? nullptr : &slot.merge;
}

StatusOr<Bpe> Bpe::Parse(const Json& model) {
  if (!model.is_object()) {
    return DataLoss("'model' is {}, expected object", model.type_name());
  }
  ASSIGN_OR_RETURN(const std::string type, GetString(model, "type", "BPE"));
  if (type != "BPE") {
    return Unimplemented("model has type '{}', expected BPE", type);
  }
  ASSIGN_OR_RETURN(const double dropout, GetDouble(model, "dropout", 0));
  if (dropout != 0) {
    return Unimplemented("model has 'dropout' {}, expected none", dropout);
  }
  for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    ASSIGN_OR_RETURN(const std::string affix, GetString(model, key, ""));
    if (!affix.empty()) {
      return Unimplemented("model has '{}' '{}', expected none", key, affix);
    }
  }
  Bpe bpe;
  ASSIGN_OR_RETURN(bpe.fuse_unknown_, GetBool(model, "fuse_unk", false));
  ASSIGN_OR_RETURN(bpe.byte_fallback_, GetBool(model, "byte_fallback", false));
  ASSIGN_OR_RETURN(bpe.ignore_merges_, GetBool(model, "ignore_merges", false));
  RETURN_IF_ERROR(bpe.ParseVocab(model));
  RETURN_IF_ERROR(bpe.ParseMerges(model));
  if (model.contains("unk_token") && !model["unk_token"].is_null()) {
    ASSIGN_OR_RETURN(const std::string unknown, GetString(model, "unk_token", ""));
    bpe.unknown_id_ = bpe.Id(unknown);
    if (!bpe.unknown_id_) {
      return DataLoss("model has 'unk_token' '{}', which is not in 'vocab'", unknown);
    }
  }
  return bpe;
}

Status Bpe::ParseVocab(const Json& model) {
  const auto vocab = model.find("vocab");
  if (vocab == model.end() || !vocab->is_object()) {
    return DataLoss("model has no object 'vocab'");
  }
  int64_t size = 0;
  for (const auto& [token, value] : vocab->items()) {
    if (!value.is_number_integer() || value < 0 || value >= kMaxTokenId) {
      return DataLoss("'vocab' gives token '{}' the id {}, expected 0 to {}", token, value.dump(), kMaxTokenId - 1);
    }
    size = std::max(size, value.get<int64_t>() + 1);
  }
  tokens_.resize(size);
  ids_.reserve(vocab->size());
  for (const auto& [token, value] : vocab->items()) {
    const auto id = value.get<int32_t>();
    if (tokens_[id] != nullptr) {
      return DataLoss("'vocab' gives the id {} to '{}' and '{}'", id, *tokens_[id], token);
    }
    tokens_[id] = &ids_.emplace(token, id).first->first;
  }
  for (char32_t c = 0; c < kNumDirectChars; ++c) {
    std::string text;
    AppendUtf8(c, &text);
    char_ids_.push_back(Id(text).value_or(-1));
  }
  for (int byte = 0; byte < 256; ++byte) {
    byte_ids_[byte] = Id(fmt::format("<0x{:02X}>", byte)).value_or(-1);
  }
  return OkStatus();
}

Status Bpe::ParseMerges(const Json& model) {
  const auto merges = model.find("merges");
  if (merges == model.end() || !merges->is_array()) {
    return DataLoss("model has no array 'merges'");
  }
  merges_ = MergeTable(merges->size());
  int32_t rank = 0;
  std::string merged;
  for (const Json& merge : *merges) {
    std::optional<std::pair<std::string_view, std::string_view>> pair;
    if (merge.is_string()) {
      const std::string_view text = merge.get_ref<const std::string&>();
      if (rank == 0 && text.starts_with("#version")) {
        continue;
      }
      pair = SplitMerge(text);
    } else if (merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string()) {
      pair = std::pair(std::string_view(merge[0].get_ref<const std::string&>()),
                       std::string_view(merge[1].get_ref<const std::string&>()));
    }
    if (!pair) {
      return DataLoss("merges[{}] is {}, expected two tokens", rank, merge.dump(-1, ' ', true).substr(0, 100));
    }
    merged.assign(pair->first).append(pair->second);
    const std::optional<int32_t> left = Id(pair->first), right = Id(pair->second), result = Id(merged);
    if (!left || !right || !result) {
      return DataLoss("merges[{}] joins '{}' and '{}', but 'vocab' has no '{}'", rank, pair->first, pair->second,
                      !left    ? pair->first
                      : !right ? pair->second
                               : merged);
    }
    merges_.Insert(*left, *right, {rank++, *result});
  }
  return OkStatus();
}

std::optional<int32_t> Bpe::Id(std::string_view token) const {
  const auto found = ids_.find(token);
  return found == ids_.end() ? std::nullopt : std::optional(found->second);
}

Status Bpe::Tokenize(std::string_view word, std::vector<int32_t>* ids) const {
  if (ignore_merges_) {
    if (const std::optional<int32_t> id = Id(word)) {
      ids->push_back(*id);
      return OkStatus();
    }
  }
  if (word.size() > static_cast<size_t>(std::numeric_limits<int32_t>::max())) {
    return InvalidArgument("text has a word of {} bytes, the limit is 2^31", word.size());
  }
  std::vector<int32_t> symbols;
  RETURN_IF_ERROR(InitialSymbols(word, &symbols));
  MergeSymbols(symbols, ids);
  return OkStatus();
}

/// One symbol a character, `<0xNN>` for the bytes of one that is not in the vocabulary, or the unknown token.
Status Bpe::InitialSymbols(std::string_view word, std::vector<int32_t>* symbols) const {
  symbols->reserve(word.size());
  bool pending_unknown = false;
  for (size_t i = 0; i < word.size();) {
    const Utf8Char next = DecodeUtf8(word.substr(i, 4));
    const std::string_view bytes = word.substr(i, next.size);
    i += next.size;
    const int32_t id = next.codepoint < kNumDirectChars ? char_ids_[next.codepoint] : Id(bytes).value_or(-1);
    const auto byte_id = [&](char byte) { return byte_ids_[static_cast<uint8_t>(byte)]; };
    if (id >= 0) {
      if (pending_unknown) {
        symbols->push_back(*unknown_id_);
        pending_unknown = false;
      }
      symbols->push_back(id);
    } else if (byte_fallback_ && std::all_of(bytes.begin(), bytes.end(), [&](char b) { return byte_id(b) >= 0; })) {
      std::transform(bytes.begin(), bytes.end(), std::back_inserter(*symbols), byte_id);
    } else if (unknown_id_) {
      if (pending_unknown && !fuse_unknown_) {
        symbols->push_back(*unknown_id_);
      }
      pending_unknown = true;
    } else {
      return InvalidArgument("text has the character '{}' (U+{:04X}), which the vocabulary cannot express", bytes,
                             static_cast<uint32_t>(next.codepoint));
    }
  }
  if (pending_unknown) {
    symbols->push_back(*unknown_id_);
  }
  return OkStatus();
}

void Bpe::MergeSymbols(const std::vector<int32_t>& symbols, std::vector<int32_t>* ids) const {
  struct Node {
    int32_t id;  // -1: merged into its left neighbour
    int32_t previous, next;
  };
  struct Candidate {
    int32_t rank, position, id;
    // std heaps keep the greatest on top: the one to merge first.
    bool operator<(const Candidate& other) const {
      return rank != other.rank ? rank > other.rank : position > other.position;
    }
  };
  const auto count = static_cast<int32_t>(symbols.size());
  std::vector<Node> nodes(count);
  std::vector<Candidate> heap;
  const auto consider = [&](int32_t left, int32_t right) {
    const MergeTable::Merge* merge = merges_.Find(nodes[left].id, nodes[right].id);
    if (merge != nullptr) {
      heap.push_back({merge->rank, left, merge->id});
    }
    return merge != nullptr;
  };
  for (int32_t i = 0; i < count; ++i) {
    nodes[i] = {symbols[i], i - 1, i + 1 < count ? i + 1 : -1};
    if (i > 0) {
      consider(i - 1, i);
    }
  }
  std::make_heap(heap.begin(), heap.end());
  while (!heap.empty()) {
    const Candidate best = heap.front();
    std::pop_heap(heap.begin(), heap.end());
    heap.pop_back();
    Node& left = nodes[best.position];
    if (left.id < 0 || left.next < 0) {
      continue;
    }
    // Either neighbour may have been merged since.
    const MergeTable::Merge* merge = merges_.Find(left.id, nodes[left.next].id);
    if (merge == nullptr || merge->id != best.id) {
      continue;
    }
    const int32_t absorbed = left.next;
    left.id = best.id;
    left.next = nodes[absorbed].next;
    nodes[absorbed].id = -1;
    if (left.next >= 0) {
      nodes[left.next].previous = best.position;
      if (consider(best.position, left.next)) {
        std::push_heap(heap.begin(), heap.end());
      }
    }
    if (left.previous >= 0 && consider(left.previous, best.position)) {
      std::push_heap(heap.begin(), heap.end());
    }
  }
  for (int32_t i = 0; i >= 0 && i < count; i = nodes[i].next) {
    ids->push_back(nodes[i].id);
  }
}

}  // namespace nemotron::runtime
