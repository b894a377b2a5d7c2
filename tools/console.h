#ifndef TOOLS_CONSOLE_H_
#define TOOLS_CONSOLE_H_

#include <atomic>
#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include "runtime/base/status.h"

/// What the command-line tools share: messages, progress bars and Ctrl-C. No MLIR here.
namespace nemotron::tools {

/// Exit codes of all tools; each tool's --help lists those it uses.
enum ExitCode : int {
  kExitOk = 0,
  kExitFailure = 1,        ///< anything not below: a file that cannot be written, a failing device
  kExitUsage = 2,          ///< flags that make no sense
  kExitBadInput = 3,       ///< a plan, session or text file that is missing, damaged or of another kind
  kExitResources = 4,      ///< not enough memory, context or sequences
  kExitInterrupted = 130,  ///< Ctrl-C, as shells count it
};

/// The code that tells a shell what a failure was.
ExitCode ExitCodeFor(const runtime::Status& status);

/// Whether stderr is a terminal that understands escape sequences (and TERM is not "dumb").
bool IsTerminal();
/// Whether colour is wanted: a terminal, and NO_COLOR is unset or empty.
bool UseColor();

/// `text` with control characters (of files that nobody vouches for) replaced by '?', fit for a terminal.
std::string Printable(std::string_view text);

/// Prints "TOOL: error: MESSAGE" to stderr, with colour where wanted, and returns `code`.
int PrintError(std::string_view tool, std::string_view message, ExitCode code);
/// The same for a status: its message and the code for it.
int PrintError(std::string_view tool, const runtime::Status& status);
/// "TOOL: note: MESSAGE" to stderr.
void PrintNote(std::string_view tool, std::string_view message);

/// From now on the first Ctrl-C only sets the flag, and a second one ends the process as usual. Returns the flag.
const std::atomic<bool>& CatchInterrupts();
/// Forgets the Ctrl-C that was caught, and catches the next.
void ClearInterrupt();

/// A line on stderr that shows how far a task is, how fast it goes and how long it will take:
///
///   loading weights  [=========>          ]  47 %  3.1 GiB/s  0:02 left
///
/// Drawn at most 10 times a second, only on a terminal, only for tasks above 0.3 s; gone when done.
class ProgressBar {
 public:
  enum class Unit { kBytes, kTokens, kItems };
  ProgressBar(std::string label, Unit unit);
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;
  ~ProgressBar() { Finish(); }

  void Update(int64_t done, int64_t total);
  /// Erases the line. May be called again.
  void Finish();

 private:
  using Clock = std::chrono::steady_clock;
  std::string label_;
  Unit unit_;
  bool enabled_;
  bool visible_ = false;
  Clock::time_point start_, last_draw_;
};

/// The text of a bar at `done` of `total` after `seconds`, `columns` wide at most. Apart from drawing, for tests.
std::string ProgressText(std::string_view label, ProgressBar::Unit unit, int64_t done, int64_t total, double seconds,
                         int columns);

/// "0:07", "12:34", "1:02:03".
std::string FormatDuration(double seconds);

}  // namespace nemotron::tools

#endif  // TOOLS_CONSOLE_H_
