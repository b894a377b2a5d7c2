#include "tools/console.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <utility>

namespace nemotron::tools {
namespace {

constexpr auto kQuietTime = std::chrono::milliseconds(300);
constexpr auto kDrawInterval = std::chrono::milliseconds(100);
constexpr int kDefaultColumns = 80;
constexpr const char* kEraseLine = "\r\x1b[2K";

int TerminalColumns() {
  winsize size = {};
  return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : kDefaultColumns;
}

/// "3.1 GiB/s", "812 tokens/s": a rate with its unit.
std::string FormatRate(double rate, ProgressBar::Unit unit) {
  if (unit == ProgressBar::Unit::kBytes) {
    const char* const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    size_t index = 0;
    while (rate >= 1000 && index + 1 < std::size(units)) {
      rate /= 1024;
      ++index;
    }
    return fmt::format("{:.{}f} {}/s", rate, rate < 10 && index > 0 ? 1 : 0, units[index]);
  }
  return fmt::format("{:.{}f} {}/s", rate, rate < 10 ? 1 : 0, unit == ProgressBar::Unit::kTokens ? "tokens" : "items");
}

void PrintMessage(std::string_view tool, std::string_view kind, const char* color, std::string_view text) {
  const std::string message = Printable(text);
  if (UseColor()) {
    fmt::print(stderr, "{}: \x1b[1;{}m{}:\x1b[0m {}\n", tool, color, kind, message);
  } else {
    fmt::print(stderr, "{}: {}: {}\n", tool, kind, message);
  }
}

std::atomic<bool> interrupted = false;
static_assert(std::atomic<bool>::is_always_lock_free, "set from a signal handler");

}  // namespace

const std::atomic<bool>& CatchInterrupts() {
  struct sigaction action = {};
  action.sa_handler = [](int) { interrupted = true; };
  action.sa_flags = static_cast<int>(SA_RESETHAND);  // reads of the terminal return, and the next Ctrl-C is final
  sigaction(SIGINT, &action, nullptr);
  return interrupted;
}

ExitCode ExitCodeFor(const runtime::Status& status) {
  switch (status.code()) {
    case runtime::StatusCode::kOk:
      return kExitOk;
    case runtime::StatusCode::kCancelled:
      return kExitInterrupted;
    case runtime::StatusCode::kInvalidArgument:
    case runtime::StatusCode::kNotFound:
    case runtime::StatusCode::kUnimplemented:
    case runtime::StatusCode::kDataLoss:
      return kExitBadInput;
    case runtime::StatusCode::kResourceExhausted:
      return kExitResources;
    default:
      return kExitFailure;
  }
}

bool IsTerminal() {
  static const bool is_terminal = [] {
    const char* term = std::getenv("TERM");
    return isatty(STDERR_FILENO) != 0 && term != nullptr && std::string_view(term) != "dumb";
  }();
  return is_terminal;
}

bool UseColor() {
  const char* no_color = std::getenv("NO_COLOR");  // https://no-color.org
  return IsTerminal() && (no_color == nullptr || *no_color == '\0');
}

std::string Printable(std::string_view text) {
  std::string result(text);
  for (char& c : result) {
    if ((static_cast<unsigned char>(c) < 0x20 && c != '\n' && c != '\t') || c == 0x7F) {
      c = '?';
    }
  }
  return result;
}

int PrintError(std::string_view tool, std::string_view message, ExitCode code) {
  PrintMessage(tool, "error", "31", message);
  return code;
}

int PrintError(std::string_view tool, const runtime::Status& status) {
  return PrintError(tool, status.message(), ExitCodeFor(status));
}

void PrintNote(std::string_view tool, std::string_view message) { PrintMessage(tool, "note", "36", message); }

void ClearInterrupt() {
  interrupted = false;
  CatchInterrupts();
}

ProgressBar::ProgressBar(std::string label, Unit unit)
    : label_(std::move(label)), unit_(unit), enabled_(IsTerminal()), start_(Clock::now()), last_draw_(start_) {}

void ProgressBar::Update(int64_t done, int64_t total) {
  if (!enabled_) {
    return;
  }
  const Clock::time_point now = Clock::now();
  if (now - start_ < kQuietTime || now - last_draw_ < kDrawInterval) {
    return;
  }
  last_draw_ = now;
  visible_ = true;
  const double seconds = std::chrono::duration<double>(now - start_).count();
  fmt::print(stderr, "{}{}", kEraseLine, ProgressText(label_, unit_, done, total, seconds, TerminalColumns() - 1));
  std::fflush(stderr);
}

void ProgressBar::Finish() {
  if (visible_) {
    fmt::print(stderr, "{}", kEraseLine);
    std::fflush(stderr);
    visible_ = false;
  }
}

std::string FormatDuration(double seconds) {
  const auto whole = static_cast<int64_t>(std::llround(std::clamp(seconds, 0.0, 1e9)));
  if (whole >= 3600) {
    return fmt::format("{}:{:02}:{:02}", whole / 3600, whole / 60 % 60, whole % 60);
  }
  return fmt::format("{}:{:02}", whole / 60, whole % 60);
}

std::string ProgressText(std::string_view label, ProgressBar::Unit unit, int64_t done, int64_t total, double seconds,
                         int columns) {
  const double share = total > 0 ? std::clamp(static_cast<double>(done) / static_cast<double>(total), 0.0, 1.0) : 0.0;
  const double rate = seconds > 0 ? static_cast<double>(done) / seconds : 0.0;
  std::string tail = fmt::format(" {:3.0f} %  {}", std::floor(share * 100), FormatRate(rate, unit));
  if (rate > 0) {
    tail += fmt::format("  {} left", FormatDuration(static_cast<double>(total - done) / rate));
  }
  // The bar takes what the texts leave, within reason; a terminal too narrow for one gets the texts alone.
  const int bar = std::min(40, columns - static_cast<int>(label.size() + tail.size()) - 4);
  std::string text(label);
  if (bar >= 8) {
    const int filled = static_cast<int>(share * bar);
    text += fmt::format("  [{:=<{}}{:<{}}]", "", filled, filled < bar ? ">" : "", bar - filled);
  }
  text += tail;
  if (static_cast<int>(text.size()) > columns) {
    text.resize(static_cast<size_t>(std::max(columns, 0)));
  }
  return text;
}

}  // namespace nemotron::tools
