#include "runtime/tokenizer/decoder.h"

#include <cctype>
#include <cstdlib>
#include <optional>
#include <utility>

#include "runtime/tokenizer/byte_level.h"
#include "runtime/tokenizer/component.h"
#include "runtime/tokenizer/utf8.h"

namespace nemotron::runtime {
namespace {

/// The byte of a token such as `<0x0A>`.
std::optional<char> FallbackByte(std::string_view token) {
  if (token.size() != 6 || !token.starts_with("<0x") || token[5] != '>' ||
      std::isxdigit(static_cast<unsigned char>(token[3])) == 0 ||
      std::isxdigit(static_cast<unsigned char>(token[4])) == 0) {
    return std::nullopt;
  }
  return static_cast<char>(std::strtol(std::string(token.substr(3, 2)).c_str(), nullptr, 16));
}

StatusOr<std::string> RequiredCharacter(const Json& component, std::string_view where, const char* key) {
  ASSIGN_OR_RETURN(std::string text, RequiredString(component, where, key));
  if (text.empty() || DecodeUtf8(text).size != static_cast<int>(text.size())) {
    return DataLoss("'{}' of {} is '{}', expected one character", key, where, text);
  }
  return text;
}

}  // namespace

StatusOr<Decoder> Decoder::Parse(const Json& component) {
  Decoder decoder;
  if (component.is_null()) {
    decoder.join_with_spaces_ = true;
    return decoder;
  }
  RETURN_IF_ERROR(decoder.AddStage(component));
  return decoder;
}

Status Decoder::AddStage(const Json& component) {
  ASSIGN_OR_RETURN(const std::string type, ComponentType(component, "decoder"));
  const std::string where = fmt::format("decoder '{}'", type);
  const auto refuse_after = [&](bool condition, std::string_view earlier) {
    return condition ? Unimplemented("{} stands after {}, expected before", where, earlier) : OkStatus();
  };
  if (type == "Sequence") {
    ASSIGN_OR_RETURN(const Json* children, RequiredArray(component, where, "decoders"));
    for (const Json& child : *children) {
      RETURN_IF_ERROR(AddStage(child));
    }
    return OkStatus();
  }
  if (type == "Fuse") {
    fused_ = true;
    return OkStatus();
  }
  if (type == "Strip") {
    ASSIGN_OR_RETURN(strip_, RequiredCharacter(component, where, "content"));
    ASSIGN_OR_RETURN(const int64_t start, GetInt(component, "start", 0));
    ASSIGN_OR_RETURN(const int64_t stop, GetInt(component, "stop", 0));
    if (!fused_ || strip_start_ != 0) {
      return Unimplemented("{} does not stand once behind 'Fuse'", where);
    }
    if (start < 0 || stop != 0) {
      return Unimplemented("{} strips {} characters from the start and {} from the end, expected 0 or more and 0",
                           where, start, stop);
    }
    strip_start_ = start;
    return OkStatus();
  }
  RETURN_IF_ERROR(refuse_after(fused_, "'Fuse'"));
  RETURN_IF_ERROR(refuse_after(bytes_ != Bytes::kNone, "'ByteLevel' or 'ByteFallback'"));
  if (type == "ByteLevel") {
    bytes_ = Bytes::kByteLevel;
    fused_ = true;
    return OkStatus();
  }
  if (type == "ByteFallback") {
    bytes_ = Bytes::kByteFallback;
    return OkStatus();
  }
  if (type == "Replace") {
    ASSIGN_OR_RETURN(auto pattern, Normalizer::Parse(component));
    rewrites_.emplace_back(Replace{std::move(pattern)});
    return OkStatus();
  }
  if (type == "Metaspace") {
    ASSIGN_OR_RETURN(std::string replacement, RequiredCharacter(component, where, "replacement"));
    ASSIGN_OR_RETURN(const bool add_prefix_space, GetBool(component, "add_prefix_space", true));
    ASSIGN_OR_RETURN(const std::string scheme,
                     GetString(component, "prepend_scheme", add_prefix_space ? "always" : "never"));
    if (scheme != "always" && scheme != "first" && scheme != "never") {
      return Unimplemented("'prepend_scheme' of {} is '{}', expected always, first or never", where, scheme);
    }
    rewrites_.emplace_back(Metaspace{std::move(replacement), scheme != "never"});
    return OkStatus();
  }
  return Unimplemented(
      "decoder has type '{}', expected Sequence, ByteLevel, ByteFallback, Replace, Metaspace, Fuse or Strip", type);
}

StatusOr<std::string> Decoder::Rewrite(std::string_view token, bool is_first) const {
  std::string text(token);
  for (const auto& rewrite : rewrites_) {
    if (const auto* replace = std::get_if<Replace>(&rewrite)) {
      RETURN_IF_ERROR(replace->pattern->Apply(&text));
      continue;
    }
    const auto& metaspace = std::get<Metaspace>(rewrite);
    const std::string_view space = is_first && metaspace.drop_first ? "" : " ";
    for (size_t at = 0; (at = text.find(metaspace.replacement, at)) != std::string::npos; at += space.size()) {
      text.replace(at, metaspace.replacement.size(), space);
    }
  }
  return text;
}

StatusOr<std::string> Decoder::Append(std::string_view token, State* state) const {
  const bool is_first = state->num_tokens == 0;
  ASSIGN_OR_RETURN(const std::string rewritten, Rewrite(token, is_first));
  ++state->num_tokens;
  std::string text = join_with_spaces_ && !is_first ? " " : "";
  if (bytes_ == Bytes::kByteLevel) {
    state->pending += ByteLevelTokenBytes(rewritten);
    DrainUtf8(&state->pending, Utf8Repair::kPerSubpart, /*at_end=*/false, &text);
  } else if (const auto byte = bytes_ == Bytes::kByteFallback ? FallbackByte(rewritten) : std::nullopt) {
    state->pending += *byte;
    DrainUtf8(&state->pending, Utf8Repair::kPerByte, /*at_end=*/false, &text);
  } else {
    DrainUtf8(&state->pending, Utf8Repair::kPerByte, /*at_end=*/true, &text);
    text += rewritten;
  }
  Strip(&text, state);
  return text;
}

std::string Decoder::Flush(State* state) const {
  std::string text;
  DrainUtf8(&state->pending, bytes_ == Bytes::kByteLevel ? Utf8Repair::kPerSubpart : Utf8Repair::kPerByte,
            /*at_end=*/true, &text);
  Strip(&text, state);
  *state = Start();
  return text;
}

void Decoder::Strip(std::string* text, State* state) const {
  while (state->strip_left > 0 && text->starts_with(strip_)) {
    text->erase(0, strip_.size());
    --state->strip_left;
  }
  if (!text->empty()) {
    state->strip_left = 0;
  }
}

StatusOr<std::string> Decoder::TokenBytes(std::string_view token) const {
  ASSIGN_OR_RETURN(const std::string rewritten, Rewrite(token, /*is_first=*/false));
  if (bytes_ == Bytes::kByteLevel) {
    return ByteLevelTokenBytes(rewritten);
  }
  const auto byte = bytes_ == Bytes::kByteFallback ? FallbackByte(rewritten) : std::nullopt;
  return byte ? std::string(1, *byte) : rewritten;
}

}  // namespace nemotron::runtime
