//===- Hash.cpp - XXH3 of strings ---------------------------------------------------------------------------------===//
#include "frontends/huggingface/Hash.h"

#include <cstring>

#include <fmt/format.h>
#include <xxhash.h>

uint64_t nemotron::frontends::hashBytes(std::string_view bytes) { return XXH3_64bits(bytes.data(), bytes.size()); }

void nemotron::frontends::Hasher::add(std::string_view bytes) {
  const uint64_t part[2] = {hashBytes(bytes), bytes.size()};
  digests.append(reinterpret_cast<const char *>(part), sizeof(part));
}

std::string nemotron::frontends::Hasher::finish() const { return fmt::format("xxh3:{:016x}", hashBytes(digests)); }
