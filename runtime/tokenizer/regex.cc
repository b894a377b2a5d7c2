#include "runtime/tokenizer/regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "runtime/tokenizer/utf8.h"

namespace nemotron::runtime {
namespace {

constexpr size_t kMaxPatternBytes = 64 << 10;
constexpr size_t kJitStackBytes = 8 << 20;  // only for patterns that outgrow the 32 KiB on the thread's stack
constexpr uint32_t kHeapLimitKiB = 64 << 10;

template <auto kFree>
struct Freer {
  template <typename T>
  void operator()(T* object) const {
    kFree(object);
  }
};
using CompileContext = std::unique_ptr<pcre2_compile_context, Freer<pcre2_compile_context_free>>;
using MatchContext = std::unique_ptr<pcre2_match_context, Freer<pcre2_match_context_free>>;
using MatchData = std::unique_ptr<pcre2_match_data, Freer<pcre2_match_data_free>>;
using JitStack = std::unique_ptr<pcre2_jit_stack, Freer<pcre2_jit_stack_free>>;

MatchContext NewMatchContext() {
  MatchContext context(pcre2_match_context_create(nullptr));
  if (context != nullptr) {
    pcre2_set_match_limit(context.get(), Regex::kMatchLimit);
    pcre2_set_heap_limit(context.get(), kHeapLimitKiB);
  }
  return context;
}

std::string ErrorText(int error) {
  PCRE2_UCHAR text[256];
  return pcre2_get_error_message(error, text, sizeof(text)) < 0 ? fmt::format("error {}", error)
                                                                : reinterpret_cast<const char*>(text);
}

}  // namespace

struct Regex::Code {
  std::unique_ptr<pcre2_code, Freer<pcre2_code_free>> pcre;
  MatchContext limits;
};

void Regex::CodeDeleter::operator()(Code* code) const { delete code; }

StatusOr<Regex> Regex::Compile(std::string_view pattern) {
  if (FindInvalidUtf8(pattern) != std::string_view::npos) {
    return DataLoss("regular expression is not UTF-8");
  }
  ASSIGN_OR_RETURN(const std::string translated, TranslatePattern(pattern));
  return CompileTranslated(pattern, translated);
}

StatusOr<Regex> Regex::CompileLiteral(std::string_view text) {
  if (FindInvalidUtf8(text) != std::string_view::npos) {
    return DataLoss("pattern is not UTF-8");
  }
  std::string escaped;
  for (const char c : text) {
    if (static_cast<unsigned char>(c) < 0x80) {
      escaped += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
    } else {
      escaped += c;
    }
  }
  return CompileTranslated(text, escaped);
}

StatusOr<Regex> Regex::CompileTranslated(std::string_view pattern, std::string_view translated) {
  const Status no_memory = Error(StatusCode::kResourceExhausted, "no memory for a regular expression");
  const CompileContext context(pcre2_compile_context_create(nullptr));
  if (context == nullptr) {
    return no_memory;
  }
  pcre2_set_newline(context.get(), PCRE2_NEWLINE_LF);
  pcre2_set_max_pattern_length(context.get(), kMaxPatternBytes);
  int error = 0;
  PCRE2_SIZE offset = 0;
  // Ruby's ^ and $ match at every line.
  constexpr uint32_t kOptions = PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C;
  auto code = std::unique_ptr<Code, CodeDeleter>(new Code);
  code->pcre.reset(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(translated.data()), translated.size(), kOptions, &error,
                                 &offset, context.get()));
  if (code->pcre == nullptr) {
    return DataLoss("regular expression '{}' is malformed: {}{}", pattern, ErrorText(error),
                    translated == pattern ? fmt::format(" at byte {}", offset) : "");
  }
  // Without JIT (a system that forbids executable memory) matching is slower, not different.
  (void)pcre2_jit_compile(code->pcre.get(), PCRE2_JIT_COMPLETE);
  code->limits = NewMatchContext();
  if (code->limits == nullptr) {
    return no_memory;
  }
  Regex regex;
  regex.pattern_ = pattern;
  regex.code_ = std::move(code);
  return regex;
}

Status Regex::FindAll(std::string_view text, std::vector<TextRange>* matches) const {
  matches->clear();
  const MatchData data(pcre2_match_data_create(1, nullptr));
  if (data == nullptr) {
    return Error(StatusCode::kResourceExhausted, "no memory to match a regular expression");
  }
  const auto subject = reinterpret_cast<PCRE2_SPTR>(text.data());
  JitStack stack;  // once one is needed, with limits that point to it
  MatchContext own_limits;
  pcre2_match_context* limits = code_->limits.get();
  size_t at = 0;
  size_t last_end = std::string_view::npos;
  while (at <= text.size()) {
    int found = pcre2_match(code_->pcre.get(), subject, text.size(), at, PCRE2_NO_UTF_CHECK, data.get(), limits);
    if (found == PCRE2_ERROR_JIT_STACKLIMIT && stack == nullptr) {
      own_limits = NewMatchContext();
      stack.reset(pcre2_jit_stack_create(64 << 10, kJitStackBytes, nullptr));
      if (own_limits != nullptr && stack != nullptr) {
        pcre2_jit_stack_assign(own_limits.get(), nullptr, stack.get());
        limits = own_limits.get();
        continue;
      }
    }
    if (found == PCRE2_ERROR_NOMATCH) {
      break;
    }
    if (found < 0) {
      return Error(StatusCode::kResourceExhausted, "regular expression '{}' fails at byte {} of a text of {}: {}",
                   pattern_, at, text.size(), ErrorText(found));
    }
    const PCRE2_SIZE* ends = pcre2_get_ovector_pointer(data.get());
    const TextRange match{ends[0], ends[1]};
    if (match.begin < at || match.end < match.begin) {
      return Unimplemented("regular expression '{}' matches backwards", pattern_);
    }
    if (match.empty() && match.end == last_end) {
      at += at < text.size() ? DecodeUtf8(text.substr(at, 4)).size : 1;
      continue;
    }
    matches->push_back(match);
    at = last_end = match.end;
  }
  return OkStatus();
}

}  // namespace nemotron::runtime
