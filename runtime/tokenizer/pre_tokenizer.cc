#include "runtime/tokenizer/pre_tokenizer.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "runtime/tokenizer/byte_level.h"
#include "runtime/tokenizer/component.h"
#include "runtime/tokenizer/utf8.h"

namespace nemotron::runtime {
namespace {

constexpr std::string_view kGpt2Pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

Status SplitPieces(const Regex& pattern, SplitBehavior behavior, bool invert, SplitText* text) {
  std::vector<TextRange> pieces, matches;
  for (const TextRange& piece : text->pieces) {
    RETURN_IF_ERROR(pattern.FindAll(text->Piece(piece), &matches));
    SplitAtMatches(piece, matches, behavior, invert, &pieces);
  }
  text->pieces = std::move(pieces);
  return OkStatus();
}

/// Rebuilds the text from what `rewrite(piece, at_start, out)` adds to `out` for each piece; at_start: nothing stands
/// before it.
template <typename Rewrite>
void RewritePieces(SplitText* text, const Rewrite& rewrite) {
  std::string rewritten;
  rewritten.reserve(text->text.size() + text->text.size() / 4 + 16);
  for (TextRange& piece : text->pieces) {
    const size_t begin = rewritten.size();
    rewrite(text->Piece(piece), text->at_start && piece.begin == 0, &rewritten);
    piece = {begin, rewritten.size()};
  }
  text->text = std::move(rewritten);
}

class SequencePreTokenizer final : public PreTokenizer {
 public:
  explicit SequencePreTokenizer(std::vector<std::unique_ptr<PreTokenizer>> parts) : parts_(std::move(parts)) {}

  Status Apply(SplitText* text) const override {
    for (const auto& part : parts_) {
      RETURN_IF_ERROR(part->Apply(text));
    }
    return OkStatus();
  }

 private:
  std::vector<std::unique_ptr<PreTokenizer>> parts_;
};

class SplitPreTokenizer final : public PreTokenizer {
 public:
  SplitPreTokenizer(Regex pattern, SplitBehavior behavior, bool invert)
      : pattern_(std::move(pattern)), behavior_(behavior), invert_(invert) {}

  Status Apply(SplitText* text) const override { return SplitPieces(pattern_, behavior_, invert_, text); }

 private:
  Regex pattern_;
  SplitBehavior behavior_;
  bool invert_;
};

class ByteLevelPreTokenizer final : public PreTokenizer {
 public:
  ByteLevelPreTokenizer(bool add_prefix_space, std::optional<Regex> pattern)
      : add_prefix_space_(add_prefix_space), pattern_(std::move(pattern)) {}

  Status Apply(SplitText* text) const override {
    if (add_prefix_space_) {
      RewritePieces(text, [](std::string_view piece, bool, std::string* out) {
        out->append(piece.starts_with(' ') ? "" : " ").append(piece);
      });
    }
    if (pattern_) {
      RETURN_IF_ERROR(SplitPieces(*pattern_, SplitBehavior::kIsolated, /*invert=*/false, text));
    }
    RewritePieces(text, [](std::string_view piece, bool, std::string* out) { AppendByteLevel(piece, out); });
    return OkStatus();
  }

 private:
  bool add_prefix_space_;
  std::optional<Regex> pattern_;
};

class MetaspacePreTokenizer final : public PreTokenizer {
 public:
  enum class Prepend { kAlways, kFirst, kNever };

  MetaspacePreTokenizer(std::string replacement, Prepend prepend, std::optional<Regex> pattern)
      : replacement_(std::move(replacement)), prepend_(prepend), pattern_(std::move(pattern)) {}

  Status Apply(SplitText* text) const override {
    RewritePieces(text, [&](std::string_view piece, bool at_start, std::string* out) {
      const bool prepend = prepend_ == Prepend::kAlways || (prepend_ == Prepend::kFirst && at_start);
      if (prepend && !piece.starts_with(' ') && !piece.starts_with(replacement_)) {
        out->append(replacement_);
      }
      for (const char c : piece) {
        c == ' ' ? out->append(replacement_) : out->append(1, c);
      }
    });
    return pattern_ ? SplitPieces(*pattern_, SplitBehavior::kMergedWithNext, /*invert=*/false, text) : OkStatus();
  }

 private:
  std::string replacement_;
  Prepend prepend_;
  std::optional<Regex> pattern_;
};

StatusOr<SplitBehavior> ParseBehavior(const Json& component, std::string_view where) {
  ASSIGN_OR_RETURN(const std::string name, RequiredString(component, where, "behavior"));
  constexpr std::pair<std::string_view, SplitBehavior> kBehaviors[] = {
      {"Removed", SplitBehavior::kRemoved},
      {"Isolated", SplitBehavior::kIsolated},
      {"MergedWithPrevious", SplitBehavior::kMergedWithPrevious},
      {"MergedWithNext", SplitBehavior::kMergedWithNext},
      {"Contiguous", SplitBehavior::kContiguous}};
  for (const auto& [known, behavior] : kBehaviors) {
    if (name == known) {
      return behavior;
    }
  }
  return Unimplemented(
      "'behavior' of {} is '{}', expected Removed, Isolated, MergedWithPrevious, MergedWithNext or Contiguous", where,
      name);
}

StatusOr<std::unique_ptr<PreTokenizer>> ParseByteLevel(const Json& component, std::string_view where) {
  ASSIGN_OR_RETURN(const bool add_prefix_space, RequiredBool(component, where, "add_prefix_space"));
  ASSIGN_OR_RETURN(const bool use_regex, GetBool(component, "use_regex", true));
  std::optional<Regex> pattern;
  if (use_regex) {
    ASSIGN_OR_RETURN(pattern, Regex::Compile(kGpt2Pattern));
  }
  return std::make_unique<ByteLevelPreTokenizer>(add_prefix_space, std::move(pattern));
}

StatusOr<std::unique_ptr<PreTokenizer>> ParseMetaspace(const Json& component, std::string_view where) {
  using Prepend = MetaspacePreTokenizer::Prepend;
  ASSIGN_OR_RETURN(std::string replacement, RequiredString(component, where, "replacement"));
  if (DecodeUtf8(replacement).size != static_cast<int>(replacement.size()) || replacement.empty()) {
    return DataLoss("'replacement' of {} is '{}', expected one character", where, replacement);
  }
  ASSIGN_OR_RETURN(const bool add_prefix_space, GetBool(component, "add_prefix_space", true));
  ASSIGN_OR_RETURN(const std::string scheme,
                   GetString(component, "prepend_scheme", add_prefix_space ? "always" : "never"));
  if (scheme != "always" && scheme != "first" && scheme != "never") {
    return Unimplemented("'prepend_scheme' of {} is '{}', expected always, first or never", where, scheme);
  }
  if (!add_prefix_space && scheme != "never") {
    return DataLoss("'prepend_scheme' of {} is '{}', but 'add_prefix_space' is false", where, scheme);
  }
  ASSIGN_OR_RETURN(const bool split, GetBool(component, "split", true));
  std::optional<Regex> pattern;
  if (split) {
    ASSIGN_OR_RETURN(pattern, Regex::CompileLiteral(replacement));
  }
  const Prepend prepend = scheme == "always" ? Prepend::kAlways : scheme == "first" ? Prepend::kFirst : Prepend::kNever;
  return std::make_unique<MetaspacePreTokenizer>(std::move(replacement), prepend, std::move(pattern));
}

}  // namespace

void SplitAtMatches(const TextRange& piece, const std::vector<TextRange>& matches, SplitBehavior behavior, bool invert,
                    std::vector<TextRange>* pieces) {
  struct Part {
    TextRange range;
    bool is_match;
  };
  std::vector<Part> parts;  // cover the piece
  parts.reserve(2 * matches.size() + 1);
  size_t end = piece.begin;
  for (const TextRange& match : matches) {
    if (end != piece.begin + match.begin) {
      parts.push_back({{end, piece.begin + match.begin}, invert});
    }
    end = piece.begin + match.end;
    parts.push_back({{piece.begin + match.begin, end}, !invert});
  }
  if (end != piece.end) {
    parts.push_back({{end, piece.end}, invert});
  }
  const size_t first = pieces->size();
  const bool backwards = behavior == SplitBehavior::kMergedWithNext;
  if (backwards) {
    std::reverse(parts.begin(), parts.end());
  }
  bool previous_match = false;
  for (const Part& part : parts) {
    const bool merge =
        pieces->size() > first &&
        (behavior == SplitBehavior::kContiguous ? part.is_match == previous_match : part.is_match && !previous_match);
    switch (behavior) {
      case SplitBehavior::kIsolated:
        pieces->push_back(part.range);
        break;
      case SplitBehavior::kRemoved:
        if (!part.is_match) {
          pieces->push_back(part.range);
        }
        break;
      case SplitBehavior::kMergedWithPrevious:
      case SplitBehavior::kMergedWithNext:
      case SplitBehavior::kContiguous:
        if (!merge) {
          pieces->push_back(part.range);
        } else if (backwards) {
          pieces->back().begin = part.range.begin;
        } else {
          pieces->back().end = part.range.end;
        }
        break;
    }
    previous_match = part.is_match;
  }
  if (backwards) {
    std::reverse(pieces->begin() + static_cast<ptrdiff_t>(first), pieces->end());
  }
  pieces->erase(std::remove_if(pieces->begin() + static_cast<ptrdiff_t>(first), pieces->end(),
                               [](const TextRange& range) { return range.empty(); }),
                pieces->end());
}

StatusOr<std::unique_ptr<PreTokenizer>> PreTokenizer::Parse(const Json& component) {
  std::vector<std::unique_ptr<PreTokenizer>> parts;
  if (component.is_null()) {
    return std::make_unique<SequencePreTokenizer>(std::move(parts));
  }
  ASSIGN_OR_RETURN(const std::string type, ComponentType(component, "pre_tokenizer"));
  const std::string where = fmt::format("pre_tokenizer '{}'", type);
  if (type == "Sequence") {
    ASSIGN_OR_RETURN(const Json* children, RequiredArray(component, where, "pretokenizers"));
    for (const Json& child : *children) {
      ASSIGN_OR_RETURN(auto part, Parse(child));
      parts.push_back(std::move(part));
    }
    return std::make_unique<SequencePreTokenizer>(std::move(parts));
  }
  if (type == "Split") {
    ASSIGN_OR_RETURN(Regex pattern, RequiredPattern(component, where));
    ASSIGN_OR_RETURN(const SplitBehavior behavior, ParseBehavior(component, where));
    ASSIGN_OR_RETURN(const bool invert, GetBool(component, "invert", false));
    return std::make_unique<SplitPreTokenizer>(std::move(pattern), behavior, invert);
  }
  if (type == "ByteLevel") {
    return ParseByteLevel(component, where);
  }
  if (type == "Digits") {
    ASSIGN_OR_RETURN(const bool individual, RequiredBool(component, where, "individual_digits"));
    ASSIGN_OR_RETURN(Regex pattern, Regex::Compile("\\p{N}"));
    return std::make_unique<SplitPreTokenizer>(
        std::move(pattern), individual ? SplitBehavior::kIsolated : SplitBehavior::kContiguous, /*invert=*/false);
  }
  if (type == "Metaspace") {
    return ParseMetaspace(component, where);
  }
  return Unimplemented("pre_tokenizer has type '{}', expected Sequence, Split, ByteLevel, Digits or Metaspace", type);
}

}  // namespace nemotron::runtime
