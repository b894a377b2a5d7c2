#include "tools/console.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>

namespace nemotron::tools {
namespace {

using runtime::Status;
using runtime::StatusCode;
using ::testing::HasSubstr;

TEST(ConsoleTest, DurationsReadAsClocks) {
  EXPECT_EQ(FormatDuration(0), "0:00");
  EXPECT_EQ(FormatDuration(7.4), "0:07");
  EXPECT_EQ(FormatDuration(59.6), "1:00");
  EXPECT_EQ(FormatDuration(754), "12:34");
  EXPECT_EQ(FormatDuration(3723), "1:02:03");
  EXPECT_EQ(FormatDuration(-5), "0:00");
}

TEST(ConsoleTest, ProgressTellsShareRateAndTimeLeft) {
  const std::string text =
      ProgressText("loading weights", ProgressBar::Unit::kBytes, int64_t{1} << 30, int64_t{2} << 30, 0.5, 100);
  EXPECT_THAT(text, HasSubstr("loading weights  ["));
  EXPECT_THAT(text, HasSubstr(">"));
  EXPECT_THAT(text, HasSubstr(" 50 %  2.0 GiB/s"));
  EXPECT_THAT(ProgressText("x", ProgressBar::Unit::kTokens, 50, 200, 10, 100),
              HasSubstr(" 25 %  5.0 tokens/s  0:30 left"));
}

TEST(ConsoleTest, ProgressFitsTheTerminal) {
  for (int columns = 0; columns < 120; ++columns) {
    for (const int64_t done : {0, 1, 50, 99, 100}) {
      EXPECT_LE(static_cast<int>(
                    ProgressText("reading the prompt", ProgressBar::Unit::kTokens, done, 100, 3, columns).size()),
                columns);
    }
  }
}

TEST(ConsoleTest, ProgressSurvivesOddNumbers) {
  EXPECT_THAT(ProgressText("x", ProgressBar::Unit::kItems, 0, 0, 0, 80), HasSubstr("0 %"));
  EXPECT_THAT(ProgressText("x", ProgressBar::Unit::kItems, 300, 200, 1, 80), HasSubstr("100 %"));
}

TEST(ConsoleTest, CodesTellAShellWhatFailed) {
  EXPECT_EQ(ExitCodeFor(runtime::OkStatus()), 0);
  EXPECT_EQ(ExitCodeFor(Status(StatusCode::kDataLoss, "")), 3);
  EXPECT_EQ(ExitCodeFor(Status(StatusCode::kNotFound, "")), 3);
  EXPECT_EQ(ExitCodeFor(Status(StatusCode::kResourceExhausted, "")), 4);
  EXPECT_EQ(ExitCodeFor(Status(StatusCode::kCancelled, "")), 130);
  EXPECT_EQ(ExitCodeFor(Status(StatusCode::kInternal, "")), 1);
}

TEST(ConsoleTest, TextOfFilesCannotDriveTheTerminal) {
  EXPECT_EQ(Printable("a\x1b[2Jb\tc\nd\r\x7f"), "a?[2Jb\tc\nd??");
  EXPECT_EQ(Printable("Grüße"), "Grüße");
}

TEST(ConsoleTest, ErrorsNameTheTool) {
  ::testing::internal::CaptureStderr();
  EXPECT_EQ(PrintError("nemotron-x", Status(StatusCode::kDataLoss, "bad bytes")), kExitBadInput);
  EXPECT_EQ(::testing::internal::GetCapturedStderr(), "nemotron-x: error: bad bytes\n");
}

TEST(ConsoleTest, TheFirstInterruptOnlySetsTheFlag) {
  const std::atomic<bool>& interrupted = CatchInterrupts();
  EXPECT_FALSE(interrupted);
  std::raise(SIGINT);
  EXPECT_TRUE(interrupted);
  ClearInterrupt();
  EXPECT_FALSE(interrupted);
  std::raise(SIGINT);
  EXPECT_TRUE(interrupted);
  std::signal(SIGINT, SIG_DFL);
}

}  // namespace
}  // namespace nemotron::tools
