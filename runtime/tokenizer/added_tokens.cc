#include "runtime/tokenizer/added_tokens.h"

#include <algorithm>

#include "runtime/tokenizer/component.h"
#include "runtime/tokenizer/utf8.h"

namespace nemotron::runtime {
namespace {

// What Hugging Face's `\w` is: the word characters of Unicode's UTS 18.
constexpr std::string_view kWordCharacter = R"([\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control}])";

size_t LeadingSpace(std::string_view text) {
  size_t size = 0;
  while (size < text.size()) {
    const Utf8Char next = DecodeUtf8(text.substr(size, 4));
    if (!IsWhiteSpace(next.codepoint)) {
      break;
    }
    size += next.size;
  }
  return size;
}

/// The offset where the last character starts.
size_t LastCharacter(std::string_view text) {
  size_t at = text.size();
  while (at > 0 && (static_cast<uint8_t>(text[--at]) & 0xC0) == 0x80) {
  }
  return at;
}

size_t TrailingSpace(std::string_view text) {
  size_t begin = text.size();
  while (begin > 0) {
    const size_t last = LastCharacter(text.substr(0, begin));
    if (!IsWhiteSpace(DecodeUtf8(text.substr(last)).codepoint)) {
      break;
    }
    begin = last;
  }
  return text.size() - begin;
}

StatusOr<AddedToken> ParseToken(const Json& entry, const std::string& where) {
  if (!entry.is_object()) {
    return DataLoss("{} is {}, expected object", where, entry.type_name());
  }
  AddedToken token{};
  ASSIGN_OR_RETURN(const int64_t id, GetInt(entry, "id", -1));
  if (id < 0 || id >= kMaxTokenId) {
    return DataLoss("{} has the id {}, expected 0 to {}", where, id, kMaxTokenId - 1);
  }
  token.id = static_cast<int32_t>(id);
  ASSIGN_OR_RETURN(token.content, RequiredString(entry, where, "content"));
  ASSIGN_OR_RETURN(token.special, GetBool(entry, "special", false));
  ASSIGN_OR_RETURN(token.single_word, GetBool(entry, "single_word", false));
  ASSIGN_OR_RETURN(token.lstrip, GetBool(entry, "lstrip", false));
  ASSIGN_OR_RETURN(token.rstrip, GetBool(entry, "rstrip", false));
  ASSIGN_OR_RETURN(token.normalized, GetBool(entry, "normalized", !token.special));
  return token;
}

}  // namespace

void StringMatcher::Add(std::string_view text, int32_t value) {
  uint32_t node = 0;
  starts_[static_cast<uint8_t>(text.front())] = true;
  for (const char c : text) {
    const auto [child, is_new] =
        nodes_[node].children.try_emplace(static_cast<uint8_t>(c), static_cast<uint32_t>(nodes_.size()));
    node = child->second;
    if (is_new) {
      nodes_.emplace_back();
    }
  }
  if (nodes_[node].value < 0) {
    nodes_[node].value = value;
  }
}

std::vector<StringMatcher::Match> StringMatcher::FindAll(std::string_view text) const {
  std::vector<Match> matches;
  for (size_t begin = 0; begin < text.size();) {
    Match longest{{begin, begin}, -1};
    if (starts_[static_cast<uint8_t>(text[begin])]) {
      uint32_t node = 0;
      for (size_t i = begin; i < text.size(); ++i) {
        const auto child = nodes_[node].children.find(static_cast<uint8_t>(text[i]));
        if (child == nodes_[node].children.end()) {
          break;
        }
        node = child->second;
        if (nodes_[node].value >= 0) {
          longest = {{begin, i + 1}, nodes_[node].value};
        }
      }
    }
    if (longest.value >= 0) {
      matches.push_back(longest);
    }
    begin = longest.value >= 0 ? longest.range.end : begin + 1;
  }
  return matches;
}

StatusOr<AddedTokens> AddedTokens::Parse(const Json& array, const Bpe& model, const Normalizer& normalizer) {
  AddedTokens result;
  if (array.is_null()) {
    return result;
  }
  if (!array.is_array()) {
    return DataLoss("'added_tokens' is {}, expected array", array.type_name());
  }
  bool single_word = false;
  for (size_t i = 0; i < array.size(); ++i) {
    const std::string where = fmt::format("added_tokens[{}]", i);
    ASSIGN_OR_RETURN(AddedToken token, ParseToken(array[i], where));
    const std::string* in_model = model.Token(token.id);
    if (in_model != nullptr && *in_model != token.content) {
      return DataLoss("{} gives the id {} to '{}', which 'vocab' gives to '{}'", where, token.id, token.content,
                      *in_model);
    }
    const std::optional<int32_t> model_id = model.Id(token.content);
    if (model_id && *model_id != token.id) {
      return DataLoss("{} gives '{}' the id {}, but 'vocab' gives it {}", where, token.content, token.id, *model_id);
    }
    if (const AddedToken* other = result.Find(token.id)) {
      return DataLoss("{} gives the id {} to '{}', which an entry before gives to '{}'", where, token.id, token.content,
                      other->content);
    }
    if (!result.ids_.emplace(token.content, token.id).second) {
      return DataLoss("{} gives '{}' a second id, {}", where, token.content, token.id);
    }
    token.spelling = token.content;
    if (token.normalized) {
      RETURN_IF_ERROR(normalizer.Apply(&token.spelling));
    }
    if (!token.spelling.empty()) {
      (token.normalized ? result.normalized_ : result.raw_).Add(token.spelling, token.id);
    }
    single_word |= token.single_word;
    result.size_ = std::max<int64_t>(result.size_, token.id + 1);
    result.tokens_.emplace(token.id, std::move(token));
  }
  if (single_word) {
    ASSIGN_OR_RETURN(result.word_before_, Regex::Compile(fmt::format("{}\\z", kWordCharacter)));
    ASSIGN_OR_RETURN(result.word_after_, Regex::Compile(fmt::format("\\A{}", kWordCharacter)));
  }
  return result;
}

const AddedToken* AddedTokens::Find(int32_t id) const {
  const auto found = tokens_.find(id);
  return found == tokens_.end() ? nullptr : &found->second;
}

std::optional<int32_t> AddedTokens::Id(std::string_view content) const {
  const auto found = ids_.find(content);
  return found == ids_.end() ? std::nullopt : std::optional(found->second);
}

std::vector<AddedTokens::Part> AddedTokens::Split(std::string_view text, const StringMatcher& matcher) const {
  std::vector<Part> parts;
  std::vector<TextRange> words;
  size_t end = 0;
  for (const auto& [match, id] : matcher.FindAll(text)) {
    const AddedToken& token = tokens_.at(id);
    TextRange range = match;
    const std::string_view before = text.substr(0, range.begin), after = text.substr(range.end);
    if (token.single_word) {
      // One character each is matched, so neither pattern can fail.
      (void)word_before_->FindAll(before.substr(LastCharacter(before)), &words);
      const bool touched_before = !words.empty();
      (void)word_after_->FindAll(after.substr(0, DecodeUtf8(after).size), &words);
      if (touched_before || !words.empty()) {
        continue;
      }
    }
    if (token.lstrip) {
      range.begin = std::max(range.begin - TrailingSpace(before), end);
    }
    if (token.rstrip) {
      range.end += LeadingSpace(after);
    }
    if (end < range.begin) {
      parts.push_back({{end, range.begin}, -1});
    }
    parts.push_back({range, id});
    end = range.end;
  }
  if (end < text.size()) {
    parts.push_back({{end, text.size()}, -1});
  }
  return parts;
}

}  // namespace nemotron::runtime
