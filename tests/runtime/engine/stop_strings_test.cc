#include "runtime/engine/stop_strings.h"

#include <gtest/gtest.h>

#include <random>

namespace nemotron::runtime {
namespace {

struct Outcome {
  std::string text;
  bool stopped;
  bool operator==(const Outcome&) const = default;
};
void PrintTo(const Outcome& outcome, std::ostream* out) { *out << '"' << outcome.text << "\" " << outcome.stopped; }

Outcome Match(const std::vector<std::string>& stops, const std::vector<std::string>& pieces) {
  StopStrings matcher(stops);
  Outcome outcome;
  for (const std::string& piece : pieces) {
    matcher.Feed(piece, &outcome.text);
  }
  matcher.Flush(&outcome.text);
  outcome.stopped = matcher.stopped();
  return outcome;
}

TEST(StopStringsTest, PassesTextWithoutStops) {
  EXPECT_EQ(Match({}, {"a", "b"}), (Outcome{"ab", false}));
  EXPECT_EQ(Match({""}, {"a", "b"}), (Outcome{"ab", false}));
}

TEST(StopStringsTest, EndsBeforeTheStop) { EXPECT_EQ(Match({"END"}, {"abcENDdef", "ghi"}), (Outcome{"abc", true})); }

TEST(StopStringsTest, FindsAStopAcrossPieces) { EXPECT_EQ(Match({"END"}, {"abE", "N", "Dx"}), (Outcome{"ab", true})); }

TEST(StopStringsTest, HoldsBackOnlyWhatMayBeAStop) {
  StopStrings matcher({"END", "\n\n"});
  std::string text;
  matcher.Feed("abEN", &text);
  EXPECT_EQ(text, "ab");
  matcher.Feed("E\n", &text);
  EXPECT_EQ(text, "abENE");
  matcher.Feed("c", &text);
  EXPECT_EQ(text, "abENE\nc");
}

TEST(StopStringsTest, GivesBackWhatWasHeldAtTheEnd) {
  EXPECT_EQ(Match({"END"}, {"abE", "N"}), (Outcome{"abEN", false}));
}

TEST(StopStringsTest, FindsAStopThatOverlapsItself) {
  EXPECT_EQ(Match({"aab"}, {"a", "a", "a", "b"}), (Outcome{"a", true}));
}

TEST(StopStringsTest, TheFirstToBeCompleteCounts) {
  EXPECT_EQ(Match({"bcX", "c"}, {"abcX"}), (Outcome{"ab", true}));
  EXPECT_EQ(Match({"bcX", "c"}, {"a", "b", "c", "X"}), (Outcome{"ab", true}));
  EXPECT_EQ(Match({"c", "bc"}, {"abc"}), (Outcome{"a", true}));
}

TEST(StopStringsTest, ResultsDoNotDependOnTheCut) {
  std::mt19937 random(5);
  const auto text_of = [&](size_t size) {
    std::string text;
    while (text.size() < size) {
      text += static_cast<char>('a' + random() % 3);
    }
    return text;
  };
  for (int round = 0; round < 3000; ++round) {
    std::vector<std::string> stops;
    for (uint32_t i = 0; i <= random() % 3; ++i) {
      stops.push_back(text_of(1 + random() % 5));
    }
    const std::string text = text_of(random() % 40);
    std::vector<std::string> pieces;
    for (size_t i = 0; i < text.size();) {
      const size_t size = 1 + random() % 6;
      pieces.push_back(text.substr(i, size));
      i += size;
    }
    ASSERT_EQ(Match(stops, pieces), Match(stops, {text})) << text;
  }
}

}  // namespace
}  // namespace nemotron::runtime
