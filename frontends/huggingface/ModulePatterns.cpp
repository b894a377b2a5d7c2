//===- ModulePatterns.cpp - names of modules in lists of a quantization config ------------------------------------===//
#include "frontends/huggingface/QuantizationConfig.h"

#include <utility>

#include "llvm/ADT/StringExtras.h"

using namespace nemotron::frontends;
using llvm::StringRef;

namespace {

/// What a class of characters such as `\d` holds, as it stands between brackets.
StringRef charactersOf(char letter) {
  switch (letter) {
  case 'd':
    return "0-9";
  case 'w':
    return "A-Za-z0-9_";
  case 's':
    return " \t";
  default:
    return "";
  }
}

/// A Python expression as a POSIX one that matches the same names; empty if it has something that POSIX does not.
std::string toPosix(StringRef python) {
  std::string posix = "^(";
  bool inBrackets = false, isRepeated = false;
  for (size_t i = 0; i < python.size(); ++i) {
    const char c = python[i], next = i + 1 < python.size() ? python[i + 1] : '\0';
    const bool wasRepeated = std::exchange(isRepeated, StringRef("*+?}").contains(c) && !inBrackets);
    if (c == '\\') {
      const StringRef characters = charactersOf(next);
      if (characters.empty() && (next == '\0' || llvm::isAlnum(next)))
        return "";
      if (!characters.empty())
        posix += inBrackets ? characters.str() : ("[" + characters + "]").str();
      else if (inBrackets)
        posix += next; // in brackets a backslash is itself
      else
        posix += {'\\', next};
      ++i;
      continue;
    }
    if (c == '(' && next == '?' && !inBrackets) {
      if (!python.substr(i).starts_with("(?:"))
        return "";
      posix += '(';
      i += 2;
      continue;
    }
    // Whether a repetition is lazy does not change what matches.
    if (c == '?' && wasRepeated)
      continue;
    inBrackets = c == '[' || (inBrackets && c != ']');
    posix += c;
  }
  return posix + ")";
}

/// A name with `*` for any text.
std::string globToPosix(StringRef glob) {
  llvm::SmallVector<StringRef> parts;
  glob.split(parts, '*');
  return "^" + llvm::join(llvm::map_range(parts, [](StringRef part) { return llvm::Regex::escape(part); }), ".*") + "$";
}

} // namespace

bool ModulePatterns::add(StringRef pattern) {
  StringRef python = pattern;
  const bool isPython = python.consume_front("re:");
  if (!isPython && !pattern.contains('*')) {
    names.insert(pattern.str());
    return true;
  }
  const std::string posix = isPython ? toPosix(python) : globToPosix(pattern);
  auto regex = std::make_shared<const llvm::Regex>(posix);
  if (posix.empty() || !regex->isValid())
    return false;
  expressions.push_back({pattern.str(), std::move(regex)});
  return true;
}

std::string ModulePatterns::find(StringRef module) const {
  for (StringRef name = module; !name.empty(); name = name.rsplit('.').first) {
    if (names.count(name.str()))
      return name.str();
    if (!name.contains('.'))
      break;
  }
  for (const Expression &expression : expressions)
    if (expression.regex->match(module))
      return expression.pattern;
  return "";
}
