#ifndef RUNTIME_ENGINE_STOP_STRINGS_H_
#define RUNTIME_ENGINE_STOP_STRINGS_H_

#include <string>
#include <string_view>
#include <vector>

namespace nemotron::runtime {

/// Looks for strings in text that arrives in pieces, and holds back whatever may yet turn out to be the start of one.
/// The result does not depend on how the text is cut: the match that is complete first counts, and among those that end
/// together the one that began first.
///
/// Example: stop "END", pieces "aE", "Nb", "EN", "D": passes "a", "ENb", "", "" and has stopped.
class StopStrings {
 public:
  /// Empty strings are ignored.
  explicit StopStrings(const std::vector<std::string>& stops);

  /// Takes in `text` and appends to `out` what certainly stands before any stop string. Nothing once stopped.
  void Feed(std::string_view text, std::string* out);
  /// At the end of the text: appends what was held back.
  void Flush(std::string* out);

  bool stopped() const { return stopped_; }

 private:
  std::vector<std::string> stops_;
  std::string held_;  ///< begins where a match may have begun
  bool stopped_ = false;
};

}  // namespace nemotron::runtime

#endif  // RUNTIME_ENGINE_STOP_STRINGS_H_
