#ifndef TESTS_FRONTENDS_HUGGINGFACE_QUANTIZED_CHECKPOINT_H_
#define TESTS_FRONTENDS_HUGGINGFACE_QUANTIZED_CHECKPOINT_H_

#include <bit>
#include <string>
#include <vector>

#include "dialects/Nemotron/IR/Nemotron.h"
#include "tests/frontends/huggingface/support.h"

namespace nemotron::frontends {

/// How a test quantizes a matrix.
struct Format {
  bool per_row = false;                               ///< a weight_scale for each row
  runtime::DType scale_dtype = runtime::DType::kF32;  ///< of weight_scale and input_scale
  bool has_unit_dim = false;                          ///< weight_scale is [out, 1] or [1], else [out] or a scalar
  bool has_input_scale = true;
};

/// A scalar, or a vector of `shape`, in `dtype`; numbers are rounded to it.
OwnedTensor ScaleTensor(const std::vector<float>& values, std::vector<int64_t> shape = {},
                        runtime::DType dtype = runtime::DType::kF32);

/// The elements of a tensor of any float type.
std::vector<float> Floats(const OwnedTensor& tensor);

/// Replaces `<module>.weight` by E4M3 numbers, and adds its scales. `input_scale` is a number that only this module
/// has.
void QuantizeModule(TensorMap* tensors, const std::string& module, const Format& format = {});

/// All modules of `tensors` that are matrices of products and whose name contains `part`.
std::vector<std::string> Modules(const TensorMap& tensors, const std::string& part = "");

/// hf_quant_config.json as ModelOpt writes it.
Json HfQuantConfig(Json exclude_modules, bool kv_cache = false);
/// `quantization_config` as compressed-tensors writes it; `input_activations` is an object or null.
Json CompressedTensors(Json input_activations, const char* weight_strategy = "tensor");
/// An `input_activations` of it.
Json Activations(bool dynamic);

/// Writes quantized checkpoints to `folder()/model` and imports them.
class QuantizedTest : public FrontendTest {
 protected:
  /// The tensors of random weights of `config`, which is kept for `Write`.
  TensorMap Random(const Json& config);
  /// Writes `tensors`, the config, and `hf_quant_config_` unless it is null; in `shards` files with an index.
  void Write(const TensorMap& tensors, int shards = 1);

  mlir::FailureOr<ImportedModel> Import(const ImportOptions& options = {});
  /// The errors of an import that fails.
  std::vector<std::string> Errors(const ImportOptions& options = {});

  /// The only op of its kind with this location: "layers.3.in_proj" is in_proj of layer 3.
  template <typename OpTy>
  OpTy OpNamed(const ImportedModel& model, const std::string& name) {
    std::vector<OpTy> ops;
    mlir::ModuleOp module = *model.module;
    module.walk([&](OpTy op) {
      if (mlir::cast<mlir::NameLoc>(op.getLoc()).getName() == name) {
        ops.push_back(op);
      }
    });
    EXPECT_THAT(ops, ::testing::SizeIs(1)) << name;
    return ops.front();
  }

  /// The tensor of the checkpoint that `value` reads, through casts and reshapes.
  static std::string SourceOf(mlir::Value value) {
    mlir::Operation* op = value.getDefiningOp();
    while (mlir::isa<ir::CastOp, ir::ReshapeOp>(op)) {
      op = op->getOperand(0).getDefiningOp();
    }
    auto get = mlir::cast<ir::GetWeightOp>(op);
    auto declaration = mlir::SymbolTable::lookupNearestSymbolFrom<ir::WeightDeclOp>(get, get.getWeightAttr());
    return declaration.getSource().str();
  }

  static uint32_t Bits(float value) { return std::bit_cast<uint32_t>(value); }
  static uint32_t Bits(mlir::FloatAttr value) { return Bits(static_cast<float>(value.getValueAsDouble())); }

  std::string Text(const ImportedModel& model) { return Print(*model.module); }

  Json config_, hf_quant_config_;
  std::string path_;
};

}  // namespace nemotron::frontends

#endif  // TESTS_FRONTENDS_HUGGINGFACE_QUANTIZED_CHECKPOINT_H_
