#ifndef TESTS_TOOLS_PTXSIM_PTX_PTX_TEXT_H_
#define TESTS_TOOLS_PTXSIM_PTX_PTX_TEXT_H_

#include <string>
#include <string_view>

namespace nemotron::ptxsim {

/// A module of three header lines and `text`, whose first line is line 4.
inline std::string ModuleText(std::string_view text) {
  return ".version 9.0\n.target sm_90a\n.address_size 64\n" + std::string(text);
}

/// A module with an entry `k` whose body begins on line 5.
inline std::string BodyText(std::string_view body) {
  return ModuleText(".visible .entry k(.param .u64 p) {\n" + std::string(body) + "\n}\n");
}

}  // namespace nemotron::ptxsim

#endif  // TESTS_TOOLS_PTXSIM_PTX_PTX_TEXT_H_
