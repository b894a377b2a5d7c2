#ifndef TESTS_FRONTENDS_HUGGINGFACE_SUPPORT_H_
#define TESTS_FRONTENDS_HUGGINGFACE_SUPPORT_H_

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <vector>

#include "frontends/huggingface/Config.h"
#include "frontends/huggingface/Import.h"
#include "mlir/IR/Diagnostics.h"
#include "mlir/IR/MLIRContext.h"
#include "runtime/base/json.h"
#include "runtime/base/safetensors.h"

namespace nemotron::frontends {

using runtime::Json;

/// A context whose diagnostics are kept: "error: ..." each, with "<file>:<line>: " in front where a line is known.
class FrontendTest : public ::testing::Test {
 protected:
  FrontendTest();
  ~FrontendTest() override;

  /// The messages so far that start with `severity`, and forgets all.
  std::vector<std::string> Take(const std::string& severity = "");
  std::vector<std::string> TakeErrors() { return Take("error"); }

  /// Parses the config as if it stood in `config.json`.
  mlir::FailureOr<ModelConfig> Parse(const Json& config) {
    return parseConfig(&context_, "config.json", config.dump(1));
  }
  NemotronHConfig ParseHybrid(const Json& config);
  NemotronConfig ParseDense(const Json& config);

  /// A folder of this test alone, removed at its end.
  const std::filesystem::path& folder() const { return folder_; }
  /// A copy of a golden checkpoint in `folder()`; its path.
  std::string CopyGolden(const std::string& name);

  mlir::MLIRContext context_;

 private:
  mlir::ScopedDiagnosticHandler handler_;
  std::vector<std::string> messages_;
  std::filesystem::path folder_;
};

/// A small hybrid config with a layer of each kind, `M-*E`.
Json HybridConfig();
/// A small dense config.
Json DenseConfig();

std::string Print(mlir::ModuleOp module);
/// The lines of `text` that contain `part`, without indentation.
std::vector<std::string> Lines(const std::string& text, const std::string& part);

std::string GoldenPath(const std::string& name);
std::string ReadFile(const std::filesystem::path& path);
void WriteFile(const std::filesystem::path& path, const std::string& text);

/// A tensor in memory, for files with changes.
struct OwnedTensor {
  runtime::DType dtype;
  std::vector<int64_t> shape;
  std::vector<std::byte> data;
};
using TensorMap = std::map<std::string, OwnedTensor>;
OwnedTensor ZeroTensor(std::vector<int64_t> shape, runtime::DType dtype = runtime::DType::kBF16);
TensorMap ReadTensors(const std::string& path);
void WriteTensors(const std::string& path, const TensorMap& tensors);

}  // namespace nemotron::frontends

#endif  // TESTS_FRONTENDS_HUGGINGFACE_SUPPORT_H_
