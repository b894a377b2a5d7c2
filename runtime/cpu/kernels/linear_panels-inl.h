// What all matrix kernels share: formats of panels, parts of a tile, what becomes of sums, rows of input. A file an
// instruction set defines `Ops` (a vector of 16 outputs) and includes this inside its anonymous namespace; no include
// guard, since each file needs its own copy.

#define NEMOTRON_INLINE inline __attribute__((always_inline))

/// How weights lie and how they are multiplied. kSplitBF16: each input is the sum of two BF16 numbers. kI8Groups:
/// scales for groups of k.
enum class Format { kF32, kBF16, kSplitBF16, kF8, kI8, kI8Groups };

/// Elements of k in a vector of 64 bytes.
constexpr bool IsI8(Format format) { return format == Format::kI8 || format == Format::kI8Groups; }
constexpr int64_t StepOf(Format format) {
  return format == Format::kF32 ? 1 : format == Format::kF8 || IsI8(format) ? 4 : 2;
}

/// Bytes of a panel for one k.
constexpr int64_t BytesOf(Format format) { return 64 / StepOf(format); }

constexpr bool kWidens = std::is_same_v<Ops::Operand, float>;
constexpr DType kOperand = kWidens ? DType::kF32 : DType::kBF16;

/// What rows of input are of.
template <Format kFormat>
using ElementOf =
    std::conditional_t<kFormat == Format::kF32, float, std::conditional_t<IsI8(kFormat), int8_t, Ops::Operand>>;

inline float* OutputOf(const LinearTile& tile, int64_t row, int64_t panel) {
  return reinterpret_cast<float*>(reinterpret_cast<char*>(tile.output) + row * tile.output_row_bytes) +
         panel * kPanelRows;
}
inline int ColumnsOf(const LinearTile& tile, int64_t panel) {
  return static_cast<int>(std::min<int64_t>(kPanelRows, tile.num_columns - panel * kPanelRows));
}

/// What the offset of the weights adds to the sums of a row and group.
inline int32_t OffsetOf(const LinearTile& tile, int64_t row, int64_t group) {
  int32_t sum;
  const auto* input = static_cast<const int8_t*>(tile.input) + row * tile.input_stride;
  std::memcpy(&sum, input + tile.depth + group * static_cast<int64_t>(sizeof(sum)), sizeof(sum));
  return sum * kI8PanelOffset;
}

/// Adds the sum of a group, scaled, to those of the groups before it. `offset`: OffsetOf.
NEMOTRON_INLINE void AddGroup(const LinearTile& tile, int64_t row, int64_t panel, int64_t group, int32_t offset,
                              typename Ops::Vector sum) {
  const auto scales = Ops::Load(tile.groups.From(panel).scales + group * kPanelRows, kPanelRows);
  float* output = OutputOf(tile, row, panel);
  const int n = ColumnsOf(tile, panel);
  auto y = Ops::Multiply(Ops::FloatOfI32(sum, offset), scales);
  if (group > 0) {
    y = Ops::Add(Ops::Load(output, n), y);
  }
  Ops::Store(output, y, n);
}

/// Applies the epilogue to finished sums, which are still in L1.
template <Format kFormat>
void Finish(const LinearTile& tile, int64_t first_row, int64_t num_rows) {
  const Epilogue& epilogue = tile.epilogue;
  for (int64_t row = first_row; row < first_row + num_rows; ++row) {
    for (int64_t panel = 0; panel < tile.num_panels; ++panel) {
      const int64_t column = panel * kPanelRows;
      const int n = ColumnsOf(tile, panel);
      typename Ops::Vector y = Ops::Load(OutputOf(tile, row, panel), n);
      if constexpr (kFormat == Format::kI8) {
        y = Ops::FloatOfI32(y, OffsetOf(tile, row, 0));
      }
      if (epilogue.weight_scale != nullptr) {
        auto scale = epilogue.scale_per_column ? Ops::Load(epilogue.weight_scale + column, n)
                                               : Ops::Fill(*epilogue.weight_scale);
        if (epilogue.input_scale != nullptr) {
          scale = Ops::Multiply(Ops::Fill(*epilogue.InputScale(row)), scale);
        }
        y = Ops::Multiply(y, scale);
      } else if (epilogue.input_scale != nullptr) {
        y = Ops::Multiply(y, Ops::Fill(*epilogue.InputScale(row)));
      }
      if (epilogue.bias != nullptr) {
        y = Ops::Add(y, Ops::Load(epilogue.bias + column, n));
      }
      if (epilogue.relu2) {
        y = Ops::Relu2(y);
      }
      Ops::Store(OutputOf(tile, row, panel), y, n);
    }
  }
}

/// Bytes from panel to panel.
template <Format kFormat>
int64_t PanelBytes(const LinearTile& tile) {
  return tile.panel_depth * BytesOf(kFormat);
}

/// Panels [panel, panel + num_panels) of `tile`.
template <Format kFormat>
LinearTile PanelsOf(const LinearTile& tile, int64_t panel, int64_t num_panels) {
  LinearTile part = tile;
  part.panels = static_cast<const char*>(tile.panels) + panel * PanelBytes<kFormat>(tile);
  part.num_panels = num_panels;
  part.output = tile.output + panel * kPanelRows;
  part.num_columns = std::min(tile.num_columns - panel * kPanelRows, part.num_panels * kPanelRows);
  part.epilogue = tile.epilogue.From(0, panel * kPanelRows);
  part.groups = tile.groups.From(panel);
  return part;
}

/// The panels that many rows are multiplied by, for panels of `format`.
constexpr Format MultipliedOf(Format format) {
  const bool is_bf16 = format == Format::kBF16 || format == Format::kF8;
  return is_bf16 && kWidens ? Format::kF32 : is_bf16 ? Format::kBF16 : format;
}

/// Writes a pair of k of a panel, widened if it is to be; returns the end of what was written.
template <typename Set = Ops>
NEMOTRON_INLINE char* StorePair(char* to, const Ops::WordVector& words) {
  if constexpr (kWidens) {
    typename Ops::Vector even, odd;
    Set::Widen(words, even, odd);
    auto* floats = reinterpret_cast<float*>(to);
    Ops::Store(floats, even, kPanelRows);
    Ops::Store(floats + kPanelRows, odd, kPanelRows);
    return to + 128;
  } else {
    Set::StoreWords(to, words);
    return to + 64;
  }
}

/// Decodes `depth` elements of k of panels `panel_bytes` apart to panels of MultipliedOf(kFormat), one after another.
template <Format kFormat>
void DecodeBlock(const char* weights, int64_t panel_bytes, int64_t num_panels, int64_t depth, char* decoded) {
  for (int64_t panel = 0; panel < num_panels; ++panel) {
    const char* from = weights + panel * panel_bytes;
    for (int64_t k = 0; k < depth; k += StepOf(kFormat), from += 64) {
      if constexpr (kFormat == Format::kF8) {
        typename Ops::WordVector first, second;
        Ops::DecodeF8(from, first, second);
        decoded = StorePair(StorePair(decoded, first), second);
      } else {
        decoded = StorePair(decoded, Ops::LoadWords(from));
      }
    }
  }
}

void RoundToBF16(const float* input, int64_t size, uint16_t* output) {
  for (int64_t i = 0; i < size; ++i) {
    output[i] = F32ToBF16(input[i]);
  }
}

/// A BF16 number as an operand.
inline void SetOperand(uint16_t bits, uint16_t& operand) { operand = bits; }
inline void SetOperand(uint16_t bits, float& operand) { operand = BF16ToF32(bits); }

void RoundToOperand(const float* input, int64_t size, void* output) {
  for (int64_t i = 0; i < size; ++i) {
    SetOperand(F32ToBF16(input[i]), static_cast<Ops::Operand*>(output)[i]);
  }
}

void DecodeF8(const uint8_t* input, int64_t size, void* output) {
  for (int64_t i = 0; i < size; ++i) {  // a BF16 has bits to spare
    const auto bits = static_cast<uint16_t>(std::bit_cast<uint32_t>(F8E4M3ToF32(input[i])) >> 16);
    SetOperand(bits, static_cast<Ops::Operand*>(output)[i]);
  }
}

int32_t SumI8(const int8_t* input, int64_t size) {
  int32_t sum = 0;
  for (int64_t i = 0; i < size; ++i) {
    sum += input[i];
  }
  return sum;
}
