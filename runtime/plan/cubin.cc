#include "runtime/plan/cubin.h"

#include <elf.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <string_view>
#include <utility>

namespace nemotron::runtime {
namespace {

// NVIDIA documents neither its sections nor its attributes. What is read here equals what cuobjdump 13.2.51 prints with
// -res-usage, for the functions that machine_code.cc was compared on.
constexpr uint8_t kAbiVersion = 8;  // of CUDA 13: the compute capability is in bits 8 to 15 of the flags
constexpr size_t kMaxNameBytes = 1024;
constexpr std::string_view kTextPrefix = ".text.", kSharedPrefix = ".nv.shared.";
constexpr uint8_t kFormatSized = 4;  // of an attribute: the 16 bits after it count the bytes that follow
constexpr uint8_t kRegCount = 0x2f, kMinStackSize = 0x12;  // attributes: {symbol, count}, {symbol, bytes}
// From 9.0 on the first KiB of a block's shared memory belongs to the system, and .nv.shared counts it.
constexpr int64_t kReservedSharedBytes = 1024;

/// `count` values of type T at `offset`, copied because a file need not align them.
template <typename T>
StatusOr<std::vector<T>> ReadArray(std::span<const std::byte> bytes, uint64_t offset, uint64_t count,
                                   std::string_view what) {
  if (offset > bytes.size() || count > (bytes.size() - offset) / sizeof(T)) {
    return DataLoss("{}: {} x {} bytes at byte {} of {}", what, count, sizeof(T), offset, bytes.size());
  }
  std::vector<T> values(count);
  if (count > 0) {
    std::memcpy(values.data(), bytes.data() + offset, count * sizeof(T));
  }
  return values;
}

class CubinReader {
 public:
  explicit CubinReader(std::span<const std::byte> bytes) : bytes_(bytes) {}

  StatusOr<std::vector<CubinFunction>> Run() {
    RETURN_IF_ERROR(ReadHeader());
    RETURN_IF_ERROR(ReadSymbols());
    RETURN_IF_ERROR(ReadAttributes());
    uint64_t code_bytes = 0;
    for (size_t i = 0; i < sections_.size(); ++i) {
      const std::string_view name = names_[i];
      if (sections_[i].sh_type != SHT_PROGBITS || !name.starts_with(kTextPrefix)) {
        continue;
      }
      ASSIGN_OR_RETURN(const std::span<const std::byte> code, SectionBytes(i));
      code_bytes += code.size();
      if (code_bytes > bytes_.size()) {
        return DataLoss("sections of code take {} bytes by '{}', but the file has {}", code_bytes, name, bytes_.size());
      }
      RETURN_IF_ERROR(AddFunction(name.substr(kTextPrefix.size()), code));
    }
    return std::move(functions_);
  }

 private:
  Status ReadHeader() {
    ASSIGN_OR_RETURN(const std::vector<Elf64_Ehdr> headers, ReadArray<Elf64_Ehdr>(bytes_, 0, 1, "ELF header"));
    const Elf64_Ehdr& header = headers[0];
    if (std::memcmp(header.e_ident, ELFMAG, SELFMAG) != 0 || header.e_ident[EI_CLASS] != ELFCLASS64 ||
        header.e_ident[EI_DATA] != ELFDATA2LSB || header.e_machine != EM_CUDA) {
      return DataLoss("not a little-endian ELF file of 64 bits for machine {}", EM_CUDA);
    }
    if (header.e_ident[EI_ABIVERSION] != kAbiVersion) {
      return Unimplemented("ABI version {}, expected {}", header.e_ident[EI_ABIVERSION], kAbiVersion);
    }
    capability_ = static_cast<int>(header.e_flags >> 8 & 0xff);
    if (header.e_shentsize != sizeof(Elf64_Shdr)) {
      return DataLoss("section headers of {} bytes, expected {}", header.e_shentsize, sizeof(Elf64_Shdr));
    }
    ASSIGN_OR_RETURN(sections_, ReadArray<Elf64_Shdr>(bytes_, header.e_shoff, header.e_shnum, "section headers"));
    for (const Elf64_Shdr& section : sections_) {
      ASSIGN_OR_RETURN(const std::string_view name, Text(header.e_shstrndx, section.sh_name));
      names_.push_back(name);
      if (name.starts_with(kSharedPrefix)) {
        shared_bytes_[name.substr(kSharedPrefix.size())] = std::min<uint64_t>(section.sh_size, INT64_MAX);
      }
    }
    return OkStatus();
  }

  StatusOr<std::span<const std::byte>> SectionBytes(size_t index) const {
    if (index >= sections_.size()) {
      return DataLoss("section {} of {}", index, sections_.size());
    }
    const Elf64_Shdr& section = sections_[index];
    if (section.sh_offset > bytes_.size() || section.sh_size > bytes_.size() - section.sh_offset) {
      return DataLoss("section {} has {} bytes at byte {} of {}", index, section.sh_size, section.sh_offset,
                      bytes_.size());
    }
    return bytes_.subspan(section.sh_offset, section.sh_size);
  }

  /// The text at `offset` of a section of strings.
  StatusOr<std::string_view> Text(size_t section, uint64_t offset) const {
    ASSIGN_OR_RETURN(const std::span<const std::byte> bytes, SectionBytes(section));
    const std::string_view texts(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    const std::string_view text = texts.substr(std::min<uint64_t>(offset, texts.size()), kMaxNameBytes);
    const size_t end = text.find('\0');
    if (end == std::string_view::npos) {
      return DataLoss("string at byte {} of section {}, which has {}, does not end in {}", offset, section,
                      texts.size(), kMaxNameBytes);
    }
    return text.substr(0, end);
  }

  Status ReadSymbols() {
    const auto table = std::ranges::find(sections_, uint32_t{SHT_SYMTAB}, &Elf64_Shdr::sh_type);
    if (table == sections_.end()) {
      return DataLoss("no symbols");
    }
    ASSIGN_OR_RETURN(const auto bytes, SectionBytes(static_cast<size_t>(table - sections_.begin())));
    ASSIGN_OR_RETURN(const auto symbols, ReadArray<Elf64_Sym>(bytes, 0, bytes.size() / sizeof(Elf64_Sym), "symbols"));
    for (const Elf64_Sym& symbol : symbols) {
      ASSIGN_OR_RETURN(const std::string_view name, Text(table->sh_link, symbol.st_name));
      symbols_.push_back(name);
    }
    return OkStatus();
  }

  /// What .nv.info says of each function: a list of {uint8 format, uint8 attribute, uint16}, of which some bring bytes.
  Status ReadAttributes() {
    for (size_t i = 0; i < sections_.size(); ++i) {
      if (names_[i] != ".nv.info") {
        continue;
      }
      ASSIGN_OR_RETURN(std::span<const std::byte> rest, SectionBytes(i));
      while (!rest.empty()) {
        ASSIGN_OR_RETURN(const auto head, ReadArray<uint8_t>(rest, 0, 4, "attribute"));
        const uint64_t size = head[0] == kFormatSized ? head[2] | head[3] << 8 : 0;
        if (size > rest.size() - head.size()) {
          return DataLoss("attribute {:#x} has {} bytes, of {} left", head[1], size, rest.size() - head.size());
        }
        if (head[0] == kFormatSized && (head[1] == kRegCount || head[1] == kMinStackSize)) {
          ASSIGN_OR_RETURN(const auto values, ReadArray<uint32_t>(rest.subspan(4, size), 0, 2, "attribute"));
          if (values[0] >= symbols_.size()) {
            return DataLoss("attribute {:#x} of symbol {} of {}", head[1], values[0], symbols_.size());
          }
          (head[1] == kRegCount ? registers_ : stack_bytes_)[symbols_[values[0]]] = values[1];
        }
        rest = rest.subspan(head.size() + size);
      }
    }
    return OkStatus();
  }

  /// 0 for functions that are not in `by_function`.
  static int64_t Find(const std::map<std::string_view, int64_t>& by_function, std::string_view name) {
    const auto found = by_function.find(name);
    return found == by_function.end() ? 0 : found->second;
  }

  Status AddFunction(std::string_view name, std::span<const std::byte> code) {
    if (!registers_.contains(name)) {
      return DataLoss("function '{}' has no number of registers", name);
    }
    StatusOr<CodeSummary> summary = SummarizeCode(code, capability_);
    if (!summary.ok()) {
      return std::move(summary).status().WithContext(fmt::format("in function '{}'", name));
    }
    const int64_t reserved_bytes = capability_ >= 90 ? kReservedSharedBytes : 0;
    functions_.push_back({.name = std::string(name),
                          .capability = capability_,
                          .registers = Find(registers_, name),
                          .stack_bytes = Find(stack_bytes_, name),
                          .shared_bytes = std::max<int64_t>(Find(shared_bytes_, name) - reserved_bytes, 0),
                          .code = *summary});
    return OkStatus();
  }

  std::span<const std::byte> bytes_;
  int capability_ = 0;
  std::vector<Elf64_Shdr> sections_;
  std::vector<std::string_view> names_;  // of sections
  std::vector<std::string_view> symbols_;
  std::map<std::string_view, int64_t> registers_, stack_bytes_, shared_bytes_;  // by function
  std::vector<CubinFunction> functions_;
};

}  // namespace

StatusOr<std::vector<CubinFunction>> ReadCubin(std::span<const std::byte> bytes) { return CubinReader(bytes).Run(); }

}  // namespace nemotron::runtime
