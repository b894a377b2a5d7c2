// write_tiny_plan OUT [TOKENIZER_JSON]: writes the plan of tiny_plan.h to a file, for tests of the tools and of the C API and
// as a seed for the fuzzer. With a tokenizer, the vocabulary has 4096 entries.

#include <cstdio>
#include <fstream>
#include <iterator>

#include "tests/runtime/plan/tiny_plan.h"

int main(int argc, char** argv) {
  if (argc < 2 || argc > 3) {
    std::fprintf(stderr, "usage: write_tiny_plan OUT [TOKENIZER_JSON]\n");
    return 2;
  }
  nemotron::runtime::testing::TinyPlanOptions options;
  if (argc == 3) {
    std::ifstream tokenizer(argv[2], std::ios::binary);
    options.tokenizer_json.assign(std::istreambuf_iterator<char>(tokenizer), {});
    options.vocab_size = 4096;
  }
  const std::vector<std::byte> file = nemotron::runtime::testing::PackPlan(
      nemotron::runtime::testing::MakeTinyPlan(options));
  std::ofstream out(argv[1], std::ios::binary);
  out.write(reinterpret_cast<const char*>(file.data()), static_cast<std::streamsize>(file.size()));
  return out.good() ? 0 : 1;
}
