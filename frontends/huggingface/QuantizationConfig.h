//===- QuantizationConfig.h - what JSON files say about quantized matrices ------------------------------*- C++ -*-===//
#ifndef FRONTENDS_HUGGINGFACE_QUANTIZATION_CONFIG_H
#define FRONTENDS_HUGGINGFACE_QUANTIZATION_CONFIG_H

#include <memory>
#include <set>
#include <string>
#include <vector>

#include "mlir/IR/MLIRContext.h"
#include "mlir/Support/LLVM.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Regex.h"

namespace nemotron::frontends {

class ConfigReader;

/// How the input of a product with a matrix of 8-bit floats is quantized: with a constant, each row by its absolute
/// maximum, or not at all.
enum class ActivationScheme { Static, Dynamic, None };

/// "static", "dynamic", "not quantized".
llvm::StringRef describeScheme(ActivationScheme scheme);

/// A set of modules, by patterns: a name, which stands for all modules in that one too; a name with `*` for any text;
/// or `re:` and a Python regular expression that matches at the start of the name.
class ModulePatterns {
public:
  /// False if the regular expression has something that is not supported, such as looking ahead.
  bool add(llvm::StringRef pattern);
  /// The pattern that `module` matches; empty if there is none.
  std::string find(llvm::StringRef module) const;

private:
  struct Expression {
    std::string pattern;
    std::shared_ptr<const llvm::Regex> regex; // shared by copies of a config
  };
  std::set<std::string, std::less<>> names;
  std::vector<Expression> expressions;
};

/// One description of a quantized checkpoint. The tensors decide what is quantized; this is held against them, and says
/// what they cannot: whether activations without a scale are quantized, and whether the KV cache is.
struct QuantizationConfig {
  struct Group {
    ModulePatterns targets;
    bool targetsAll = false; ///< every matrix that no other group targets by name
    ActivationScheme activations = ActivationScheme::Static;
  };
  std::string path;           ///< of the file, for messages
  std::string exclusionField; ///< "exclude_modules", "ignore", ...; empty: there is no such field
  ModulePatterns exclusions;
  std::vector<Group> groups; ///< none: no matrix is quantized
  bool kvCache = false;      ///< of 8-bit floats

  /// The group that quantizes `module`, exclusions aside; null if none does.
  const Group *groupOf(llvm::StringRef module) const;
};

/// Reads the object of `reader`, the section of the config.json at `path`, of one of these forms by `quant_method`:
/// - `modelopt`: `quant_algo` or `config_groups`, `exclude_modules` or `ignore`;
/// - `compressed-tensors`: `format`, `config_groups`, `ignore`, `kv_cache_scheme`;
/// - `fp8`: `activation_scheme`, `ignored_layers`, `kv_cache_scheme`.
/// Any format but FP8 with a scale for a matrix or each of its rows is an error.
QuantizationConfig readQuantizationConfig(ConfigReader &reader, llvm::StringRef path);

/// Reads the hf_quant_config.json at `path`, which ModelOpt writes beside config.json. `text` gets the file as found.
mlir::FailureOr<QuantizationConfig> loadHfQuantConfig(mlir::MLIRContext *context, llvm::StringRef path,
                                                      std::string &text);

} // namespace nemotron::frontends

#endif // FRONTENDS_HUGGINGFACE_QUANTIZATION_CONFIG_H
