#ifndef TOOLS_PTXSIM_SIM_OPS_INTEGER_OPS_H_
#define TOOLS_PTXSIM_SIM_OPS_INTEGER_OPS_H_

#include <cstdint>
#include <type_traits>

#include "tools/ptxsim/sim/decoder.h"
#include "tools/ptxsim/sim/lanes.h"

namespace nemotron::ptxsim {

template <typename T>
using Unsigned = std::make_unsigned_t<T>;

/// The unsigned type of at least 32 bits in which T wraps: C++ promotes narrower ones to int.
template <typename T>
using Modular = std::common_type_t<Unsigned<T>, uint32_t>;

template <typename T>
constexpr uint32_t kBits = sizeof(T) * 8;

/// Types of 16, 32 and 64 bits.
template <typename Make>
Handler ForArithmetic(Format format, Make make) {
  return BytesOf(format) == 1 ? nullptr : ForInteger(format, [&]<typename T>() -> Handler {
    if constexpr (sizeof(T) == 1) {
      return nullptr;
    } else {
      return make.template operator()<T>();
    }
  });
}

/// Types of 32 and 64 bits.
template <typename Make>
Handler ForWord(Format format, Make make) {
  return ForArithmetic(format, [&]<typename T>() -> Handler {
    if constexpr (sizeof(T) < 4) {
      return nullptr;
    } else {
      return make.template operator()<T>();
    }
  });
}

inline void EmitUnary(Decoder& d, Format format, Handler handler) {
  d.Emit(handler, {d.Result(0, format)}, {d.Source(1, format)});
}
inline void EmitBinary(Decoder& d, Format format, Handler handler) {
  const uint32_t a = d.Source(1, format), b = d.Source(2, format);
  d.Emit(handler, {d.Result(0, format)}, {a, b});
}

}  // namespace nemotron::ptxsim

#endif  // TOOLS_PTXSIM_SIM_OPS_INTEGER_OPS_H_
