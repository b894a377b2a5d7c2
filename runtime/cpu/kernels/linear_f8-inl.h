// E4M3 as BF16, byte by byte: tables for the instruction sets that shuffle bytes. Included inside a namespace.
//
// s eeee mmm becomes s eeeeeeee mmm0000 with e + 120. For normal numbers (e > 0) the high byte is the sign and
// 60 + e / 2, which the upper four bits of the code tell, and the low byte is the lower four bits of the code, shifted.
// Subnormals (codes 0 to 7) and NaN (127) are exceptions.

/// The upper half of F8E4M3ToF32 (runtime/base/dtype.h), for codes below 128.
constexpr unsigned BF16OfCode(int code) {
  int exponent = code >> 3, mantissa = code & 7;
  if (code == 0 || code == 127) {
    return code == 0 ? 0 : 0x7FC0;
  }
  if (exponent == 0) {
    for (exponent = 1; mantissa < 8; mantissa *= 2) {
      --exponent;
    }
  }
  return static_cast<unsigned>((exponent + 120) << 7 | (mantissa & 7) << 4);
}

/// Both bytes of each code below 128.
struct F8Tables {
  alignas(64) uint8_t low[128], high[128];
  constexpr F8Tables() : low(), high() {
    for (int code = 0; code < 128; ++code) {
      low[code] = static_cast<uint8_t>(BF16OfCode(code));
      high[code] = static_cast<uint8_t>(BF16OfCode(code) >> 8);
    }
  }
};
inline constexpr F8Tables kF8Tables;

/// Tables of 16 bytes. `high`: of the upper four bits. `fix_low`, `fix_high`: at 8 + code, what must be flipped in a
/// subnormal; the entries below 8 are not used.
struct F8Nibbles {
  alignas(16) uint8_t high[16], fix_low[16], fix_high[16];
  constexpr F8Nibbles() : high(), fix_low(), fix_high() {
    for (int i = 0; i < 16; ++i) {
      high[i] = static_cast<uint8_t>((i & 8) << 4 | (60 + (i & 7)));
      const unsigned code = i & 7, wrong = 60u << 8 | code << 4;
      fix_low[i] = static_cast<uint8_t>(BF16OfCode(code) ^ wrong);
      fix_high[i] = static_cast<uint8_t>((BF16OfCode(code) ^ wrong) >> 8);
    }
  }
};
inline constexpr F8Nibbles kF8Nibbles;
