//===- ConfigReader.h - typed access to the fields of a JSON object -------------------------------------*- C++ -*-===//
#ifndef FRONTENDS_HUGGINGFACE_CONFIG_READER_H
#define FRONTENDS_HUGGINGFACE_CONFIG_READER_H

#include <optional>
#include <string>

#include <nlohmann/json.hpp>

#include "mlir/IR/Diagnostics.h"
#include "mlir/IR/Location.h"
#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/ADT/StringRef.h"

namespace nemotron::frontends {

using Json = nlohmann::json;

/// Reads fields of one object of a JSON file and emits what is wrong with them at their line. A field may have several
/// names; a name with null as value counts as absent. After an error reading goes on with a default, so that all errors
/// come at once.
class ConfigReader {
public:
  using Names = llvm::ArrayRef<llvm::StringRef>;

  /// Range of a size, both ends included.
  struct Range {
    int64_t min, max;
  };

  /// `object` is an object in the file at `path` with text `text`; all outlive the reader.
  ConfigReader(mlir::MLIRContext *context, llvm::StringRef path, llvm::StringRef text, const Json &object)
      : context(context), path(path), text(text), object(object) {}
  /// Of an object inside that of `parent`: errors of one are errors of both.
  ConfigReader(ConfigReader &parent, const Json &object)
      : context(parent.context), path(parent.path), text(parent.text), object(object), parent(&parent) {}

  bool failed() const { return numErrors > 0; }
  mlir::InFlightDiagnostic error(llvm::StringRef field);
  mlir::InFlightDiagnostic warning(llvm::StringRef field);
  mlir::InFlightDiagnostic remark(llvm::StringRef field);

  /// The value of the first of `names` that is there, and that name; null if none is. Two names with different values
  /// are an error. Marks all of them as known.
  const Json *find(Names names, llvm::StringRef *found = nullptr);

  /// A count; `fallback` if absent, 0 after an error.
  int64_t size(Names names, int64_t fallback, Range range);
  /// A finite number in [min, max].
  double number(Names names, double fallback, double min, double max);
  bool flag(Names names, bool fallback);
  std::string string(Names names, llvm::StringRef fallback);
  /// A token id; -1 if null, `fallback` if there is no such field.
  int32_t tokenId(llvm::StringRef name, int32_t fallback);
  /// A token id or a list of them.
  std::vector<int32_t> tokenIds(llvm::StringRef name, int32_t fallback);

  /// Checks one value of `field`, the field itself or an entry of its list.
  std::optional<int64_t> asSize(const Json &value, llvm::StringRef field, Range range);
  std::optional<double> asNumber(const Json &value, llvm::StringRef field);

  /// Fields that have no effect on the result.
  void ignore(Names names);
  /// An error if `name` is there with another value than null, false, 0, "" or one of `allowed`; `why` says what it
  /// asks for.
  void refuse(llvm::StringRef name, llvm::StringRef why, Names allowed = {});
  /// Warns about each field that was neither read nor ignored.
  void warnUnknown();

  /// "config.json:12:3" of `field`, or the start of the file.
  mlir::Location locationOf(llvm::StringRef field) const;

private:
  void countError() {
    ++numErrors;
    if (parent)
      parent->countError();
  }

  mlir::MLIRContext *context;
  llvm::StringRef path, text;
  const Json &object;
  ConfigReader *parent = nullptr;
  llvm::StringMap<bool> known;
  int numErrors = 0;
};

/// Compact text of a value for messages, cut after 60 characters.
std::string preview(const Json &value);

} // namespace nemotron::frontends

#endif // FRONTENDS_HUGGINGFACE_CONFIG_READER_H
