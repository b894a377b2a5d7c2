//===- compile_calibration.h - static scales for nemotron-compile: measured, read, put into the IR -------------*- C++
//-*-===//
#ifndef TOOLS_COMPILE_CALIBRATION_H
#define TOOLS_COMPILE_CALIBRATION_H

#include <atomic>

#include "frontends/huggingface/Import.h"
#include "runtime/engine/calibration_file.h"
#include "tools/compile_options.h"

namespace nemotron::tools {

/// Measures the activations of `model` on the text `options.calibrate`: a plan of the model as it was imported, without
/// fusions and unquantized, is written beside the output, run on the CPU, and removed. Errors are emitted at the text
/// or at the module; a set `cancelled` ends the run with an error that is not emitted. The model is left as it was.
mlir::FailureOr<runtime::Calibration> calibrate(frontends::ImportedModel& model, const CompileOptions& options,
                                                const std::atomic<bool>& cancelled);

/// Reads the report of an earlier calibration.
mlir::FailureOr<runtime::Calibration> readCalibration(mlir::MLIRContext* context, const std::string& path);

/// Writes `calibration` to `path` as JSON, and as a table to the same path with the extension .tsv.
llvm::LogicalResult writeCalibration(mlir::MLIRContext* context, const runtime::Calibration& calibration,
                                     const std::string& path);

/// Leaves the scales at the ops that they are for, as attributes that `nemotron-quantize` reads: nemotron.input_scale,
/// nemotron.hidden_scale, nemotron.key_scale, nemotron.value_scale. A scale for a matrix or a cache that the model does
/// not have is an error.
llvm::LogicalResult applyCalibration(mlir::ModuleOp module, const runtime::Calibration& calibration);

}  // namespace nemotron::tools

#endif  // TOOLS_COMPILE_CALIBRATION_H
