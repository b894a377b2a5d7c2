// Writes the plan of tiny_plan.h to files, for tests of the tools and of the C API and as seeds for the fuzzer.
//   write_tiny_plan OUT                      without tokenizer
//   write_tiny_plan OUT TOKENIZER_JSON       with one; the vocabulary then has 4096 entries
//   write_tiny_plan --corpus DIRECTORY       small variants: one file, and the metadata of several
//   write_tiny_plan --keep OUT               with all kernels: what kept/ holds of each version

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>

#include "tests/runtime/plan/tiny_plan.h"

namespace {

using nemotron::runtime::testing::MakeTinyPlan;
using nemotron::runtime::testing::PackPlan;
using nemotron::runtime::testing::TinyPlanOptions;

bool WriteFile(const std::string& path, const std::vector<std::byte>& file, size_t first = 0) {
  std::ofstream out(path, std::ios::binary);
  out.write(reinterpret_cast<const char*>(file.data()) + first, static_cast<std::streamsize>(file.size() - first));
  return out.good();
}

bool WriteCorpus(const std::string& directory) {
  std::filesystem::create_directories(directory);
  bool ok = WriteFile(directory + "/file", PackPlan(MakeTinyPlan()));
  const std::pair<const char*, TinyPlanOptions> variants[] = {
      {"metadata", {}},
      {"metadata-recurrence", {.with_attention = false}},
      {"metadata-attention", {.with_recurrence = false}},
      {"metadata-all-kernels", {.with_all_kernels = true}},
  };
  for (const auto& [name, options] : variants) {
    const auto draft = MakeTinyPlan(options);
    ok = WriteFile(directory + "/" + name, PackPlan(draft), draft.metadata_offset()) && ok;
  }
  const auto for_both = nemotron::runtime::testing::MakePlanForBoth();
  return WriteFile(directory + "/metadata-on-cpu", PackPlan(for_both), for_both.metadata_offset()) && ok;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2 || argc > 3) {
    std::fprintf(stderr, "usage: write_tiny_plan OUT [TOKENIZER_JSON] | --corpus DIRECTORY | --keep OUT\n");
    return 2;
  }
  if (std::string_view(argv[1]) == "--corpus") {
    return argc == 3 && WriteCorpus(argv[2]) ? 0 : 1;
  }
  TinyPlanOptions options;
  if (std::string_view(argv[1]) == "--keep") {
    options.with_all_kernels = true;
    return argc == 3 && WriteFile(argv[2], PackPlan(MakeTinyPlan(options))) ? 0 : 1;
  }
  if (argc == 3) {
    std::ifstream tokenizer(argv[2], std::ios::binary);
    options.tokenizer_json.assign(std::istreambuf_iterator<char>(tokenizer), {});
    options.vocab_size = 4096;
  }
  return WriteFile(argv[1], PackPlan(MakeTinyPlan(options))) ? 0 : 1;
}
