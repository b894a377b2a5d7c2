//===- Hash.h - XXH3 of strings -------------------------------------------------------------------------*- C++ -*-===//
#ifndef FRONTENDS_HUGGINGFACE_HASH_H
#define FRONTENDS_HUGGINGFACE_HASH_H

#include <cstdint>
#include <string>
#include <string_view>

namespace nemotron::frontends {

/// XXH3-64 of `bytes`.
uint64_t hashBytes(std::string_view bytes);

/// Hashes a series of strings; where one ends and the next begins counts.
class Hasher {
public:
  void add(std::string_view bytes);
  /// "xxh3:<16 hex digits>".
  std::string finish() const;

private:
  std::string digests; ///< of the parts, 16 bytes each: hash and length
};

} // namespace nemotron::frontends

#endif // FRONTENDS_HUGGINGFACE_HASH_H
