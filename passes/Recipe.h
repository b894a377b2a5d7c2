//===- Recipe.h - which matrices are quantized, and how -------------------------------------------------*- C++ -*-===//
#ifndef PASSES_RECIPE_H
#define PASSES_RECIPE_H

#include <array>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "runtime/base/dtype.h"
#include "runtime/base/status.h"
#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringRef.h"

namespace nemotron::passes {

/// How a matrix is quantized. Activations are of the codes of the weights, or BF16 if they stay as they are.
struct MatrixFormat {
  enum class Scale { Auto, Current, Static };

  runtime::DType codes = runtime::DType::kF8E4M3; ///< or kI8
  bool perChannel = false;                        ///< weights: a scale for each output, else one for the matrix
  int64_t groupSize = 0;                          ///< weights: a scale for so many inputs of each output; 0: no groups
  bool quantizesActivations = true;               ///< else they are rounded to BF16
  /// Static: from a calibration, one scale for the matrix. Current: measured in the step, one for each token, or for
  /// all tokens together if `perStep`. Auto: static where a calibration is there, else current.
  Scale scale = Scale::Auto;
  bool perStep = false;
};

/// What a layer is, told by its ops; a layer of a dense decoder is two of these.
enum class LayerKind { Mamba, Attention, Mlp, Moe };

/// A matrix of a model, as patterns see it.
struct MatrixFacts {
  int64_t layer;    ///< -1: outside of layers
  std::string name; ///< within the layer: "in_proj", "experts", "shared_experts.up_proj"; "lm_head"
};

/// The kinds of all layers, by number.
using ModelFacts = std::vector<std::set<LayerKind>>;

/// A pattern of layers: "all", "head" (outside of layers), "first 4", "last 4", "7", "3-5", a kind ("mamba",
/// "attention", "mlp", "moe"), or "mamba before attention": the last Mamba layer before each attention layer.
class LayerPattern {
public:
  static runtime::StatusOr<LayerPattern> parse(llvm::StringRef text);

  bool matches(const ModelFacts &model, int64_t layer) const;
  llvm::StringRef text() const { return source; }

private:
  enum class Kind { All, Head, First, Last, Range, OfKind, MambaBeforeAttention };
  std::string source;
  Kind kind = Kind::All;
  int64_t begin = 0, end = 0; ///< of a range, inclusive; of First and Last, `end` is how many
  LayerKind layerKind = LayerKind::Mamba;
};

/// Matrices that are treated alike: those of layers that any pattern matches, with a name that any glob matches.
struct RecipeRule {
  std::vector<LayerPattern> layers;
  std::vector<std::string> matrices;  ///< globs: * and ?
  bool isOptional = false;            ///< a pattern that matches nothing is no error
  std::optional<MatrixFormat> format; ///< none: the matrix stays as it is
};

/// A recipe: rules, of which the first that matches a matrix decides, and the type of the KV cache. A file is JSON
/// (docs/quantization.md); the built-in ones are those of passes/recipes/.
class Recipe {
public:
  /// Names of the built-in recipes, sorted.
  static llvm::ArrayRef<llvm::StringRef> builtinNames();

  /// A built-in recipe ("fp8" is "nemotron-h"), or the file at that path. kNotFound if it is neither; errors of a file
  /// name it, the rule and the key.
  static runtime::StatusOr<Recipe> load(llvm::StringRef nameOrPath);
  /// `name` is for messages.
  static runtime::StatusOr<Recipe> parse(llvm::StringRef json, llvm::StringRef name);

  const std::string &name() const { return recipeName; }
  bool quantizesCache() const { return cache; }

  /// The format of `matrix`, nothing if it stays as it is.
  std::optional<MatrixFormat> formatOf(const ModelFacts &model, const MatrixFacts &matrix) const;

  /// Every pattern of a rule that is not optional matches one of `matrices`. Else kInvalidArgument with rule and
  /// pattern.
  runtime::Status check(const ModelFacts &model, llvm::ArrayRef<MatrixFacts> matrices) const;

private:
  std::string recipeName;
  std::vector<RecipeRule> rules;
  bool cache = false;
};

} // namespace nemotron::passes

#endif // PASSES_RECIPE_H
