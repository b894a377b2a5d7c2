#ifndef RUNTIME_ENGINE_CALIBRATION_FILE_H_
#define RUNTIME_ENGINE_CALIBRATION_FILE_H_

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "runtime/base/status.h"

/// The outcome of a calibration and its file, which the compiler reads: this header needs runtime/base alone.
namespace nemotron::runtime {

enum class CalibrationMethod { kAmax, kPercentile, kMse };
/// "amax", "percentile", "mse".
std::string_view CalibrationMethodName(CalibrationMethod method);
/// The inverse. kInvalidArgument, listing the names, for others.
StatusOr<CalibrationMethod> CalibrationMethodFromName(std::string_view name);

/// What was seen of one stream of activations, and the E4M3 scale that was chosen: x is stored as e4m3(x / scale).
struct CalibrationEntry {
  int64_t layer = -1;          ///< of the model; -1: none (output head)
  int64_t count = 0;           ///< values seen
  float amax = 0;              ///< the largest |x|, exact
  float percentile_value = 0;  ///< the percentile of |x| over the values that are not zero
  float scale = 0;             ///< above zero, finite
  double saturated_share = 0;  ///< values that exceed what the scale can hold, of `count`
  double relative_error = 0;   ///< root mean square of x - q * scale, over that of x; 0 if all x are zero

  /// The signal-to-quantization-noise ratio, -20 log10(relative_error); infinite without error.
  double sqnr_db() const;
  bool operator==(const CalibrationEntry&) const = default;
};

struct KvCalibration {
  CalibrationEntry key, value;
  bool operator==(const KvCalibration&) const = default;
};

struct Calibration {
  CalibrationMethod method = CalibrationMethod::kAmax;
  double percentile = 0;                                ///< the one that percentile_value is, e.g. 99.99
  int64_t text_tokens = 0;                              ///< tokens run
  int64_t window = 0;                                   ///< tokens after which the state was emptied
  std::map<std::string, CalibrationEntry> activations;  ///< by the matrix they enter, e.g. "layers.3.in_proj"
  std::map<std::string, KvCalibration> kv_cache;        ///< by the state, e.g. "layers.5.kv"
  bool operator==(const Calibration&) const = default;
};

/// JSON text, ending in a newline:
///
///   {"version": 1, "method": "mse", "percentile": 99.99, "text_tokens": 65536, "window": 512,
///    "activations": {"layers.3.in_proj": {"layer": 3, "count": ..., "amax": ..., "percentile_value": ...,
///                                         "scale": ..., "saturated_share": ..., "relative_error": ...,
///                                         "sqnr_db": ...}, ...},
///    "kv_cache": {"layers.5.kv": {"key": {...}, "value": {...}}, ...}}
///
/// Numbers have the digits that bring them back exactly; "sqnr_db" is null where there is no error.
std::string CalibrationJson(const Calibration& calibration);

/// Reads what CalibrationJson writes. Of an entry only "scale" must be there, so that scales from elsewhere can be
/// written by hand. `source` names the text in errors: kDataLoss for what is no JSON; kUnimplemented for another
/// version; kInvalidArgument, with the key, for one that is missing or of another type, and for a scale that is not
/// above zero and finite as F32.
StatusOr<Calibration> ParseCalibration(std::string_view json, std::string_view source);

/// A tab-separated table for plots, with a line of titles: a row a matrix, then a row a key or value of a state
/// ("layers.5.kv.key"), each by layer and name: name, layer, amax, scale, saturated_share, relative_error, sqnr_db.
std::string CalibrationTable(const Calibration& calibration);

}  // namespace nemotron::runtime

#endif  // RUNTIME_ENGINE_CALIBRATION_FILE_H_
