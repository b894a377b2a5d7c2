#include "tools/ptxsim/sim/function.h"

#include <algorithm>

#include "tools/ptxsim/sim/address_space.h"

namespace nemotron::ptxsim {

const Symbol* FrameLayout::Find(const std::string& name) const {
  const auto found = std::ranges::find(symbols, name, &std::pair<std::string, Symbol>::first);
  return found == symbols.end() ? nullptr : &found->second;
}

FrameLayout LayOutFrame(const Function& function, int64_t shared_begin) {
  FrameLayout layout;
  layout.shared_bytes = shared_begin;
  auto place = [](int64_t& end, int64_t align_bytes, int64_t size_bytes) {
    const int64_t begin = (end + align_bytes - 1) / align_bytes * align_bytes;
    end = begin + size_bytes;
    return static_cast<uint64_t>(begin);
  };
  for (const auto* parameters : {&function.parameters, &function.results}) {
    for (const Parameter& parameter : *parameters) {
      const uint64_t address =
          function.is_entry ? kParameterWindow + static_cast<uint64_t>(parameter.offset_bytes)
                            : kLocalWindow + place(layout.local_bytes, parameter.align_bytes, parameter.size_bytes);
      layout.symbols.push_back({parameter.name, {Space::kParam, address, parameter.size_bytes}});
    }
  }
  for (const Variable& variable : function.variables) {
    uint64_t address = 0;
    if (variable.space != Space::kShared) {
      address = kLocalWindow + place(layout.local_bytes, variable.align_bytes, variable.size_bytes);
    } else if (variable.size_bytes > 0) {
      address = place(layout.shared_bytes, variable.align_bytes, variable.size_bytes);
    }
    layout.symbols.push_back({variable.name, {variable.space, address, variable.size_bytes}});
  }
  layout.local_bytes = (layout.local_bytes + 15) / 16 * 16;
  return layout;
}

}  // namespace nemotron::ptxsim
