#include "runtime/plan/grid_expression.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <string>

namespace nemotron::runtime {
namespace {

using ::testing::HasSubstr;

constexpr GridShape kShape = {.tokens = 70, .sequences = 3, .rows = 2, .sampled = 1, .longest = 40, .context = 1000};

int64_t Evaluate(const std::string& text, const GridShape& shape = kShape) {
  const StatusOr<GridExpression> expression = GridExpression::Parse(text);
  EXPECT_TRUE(expression.ok()) << expression.status().message();
  return expression.ok() ? expression->Evaluate(shape) : -1;
}

std::string Error(const std::string& text) {
  const StatusOr<GridExpression> expression = GridExpression::Parse(text);
  EXPECT_FALSE(expression.ok()) << text;
  EXPECT_EQ(expression.status().code(), StatusCode::kInvalidArgument);
  return expression.status().message();
}

TEST(GridExpressionTest, HasVariablesAndArithmetic) {
  EXPECT_EQ(Evaluate("24"), 24);
  EXPECT_EQ(Evaluate("T"), 70);
  EXPECT_EQ(Evaluate("S"), 3);
  EXPECT_EQ(Evaluate("R"), 2);
  EXPECT_EQ(Evaluate("A"), 1);
  EXPECT_EQ(Evaluate("L"), 40);
  EXPECT_EQ(Evaluate("C"), 1000);
  EXPECT_EQ(Evaluate("T+S*R"), 76);
  EXPECT_EQ(Evaluate("(T + S) * R"), 146);
  EXPECT_EQ(Evaluate("2*3*4+5+6"), 35);
}

TEST(GridExpressionTest, CeilDividesUp) {
  EXPECT_EQ(Evaluate("ceil(T/64)*24"), 48);
  EXPECT_EQ(Evaluate("ceil(T/70)"), 1);
  EXPECT_EQ(Evaluate("ceil(T+1/70)"), 2);  // the sum is divided
  EXPECT_EQ(Evaluate("ceil(T*0/5)"), 0);
}

TEST(GridExpressionTest, SelectsOneOfTwo) {
  EXPECT_EQ(Evaluate("T<=70 ? 5 : 6"), 5);
  EXPECT_EQ(Evaluate("T<=69 ? 5 : 6"), 6);
  EXPECT_EQ(Evaluate("T>70 ? 5 : 6"), 6);
  EXPECT_EQ(Evaluate("T>8 ? (T<=64 ? 1 : 2) : 0"), 2);
  EXPECT_EQ(Evaluate("T>8 ? T<=64 ? 1 : 2 : 0"), 2);
  EXPECT_EQ(Evaluate("(L<=1 ? 0 : 4)+1"), 5);
}

TEST(GridExpressionTest, SaturatesInsteadOfOverflowing) {
  const GridShape huge = {.tokens = std::numeric_limits<int64_t>::max()};
  EXPECT_EQ(Evaluate("T*T", huge), huge.tokens);
  EXPECT_EQ(Evaluate("T+T", huge), huge.tokens);
  EXPECT_EQ(Evaluate("ceil(T/1)", huge), huge.tokens);
  EXPECT_EQ(Evaluate("2147483647*2147483647*2147483647"), huge.tokens);
}

TEST(GridExpressionTest, SaysWhatIsWrong) {
  EXPECT_THAT(Error(""), HasSubstr("position 0, expected T, S, R, A, L, C, ceil, '(' or a number"));
  EXPECT_THAT(Error("T+"), HasSubstr("position 2"));
  EXPECT_THAT(Error("X"), HasSubstr("has 'X' at position 0"));
  EXPECT_THAT(Error("T T"), HasSubstr("has 'T' at position 2, expected the end"));
  EXPECT_THAT(Error("ceil(T/0)"), HasSubstr("expected a divisor above 0"));
  EXPECT_THAT(Error("ceil(T*2)"), HasSubstr("expected /"));
  EXPECT_THAT(Error("(T"), HasSubstr("expected )"));
  EXPECT_THAT(Error("T<=3"), HasSubstr("expected ?"));
  EXPECT_THAT(Error("T<=3 ? 1"), HasSubstr("expected :"));
  EXPECT_THAT(Error("2147483648"), HasSubstr("a number below 2^31"));
  EXPECT_THAT(Error(std::string(300, '(')), HasSubstr("300 characters"));
  EXPECT_THAT(Error(std::string(200, '(')), HasSubstr("position 200"));
  std::string sum = "1";
  for (int i = 0; i < 40; ++i) {
    sum += "+1";
  }
  EXPECT_THAT(Error(sum), HasSubstr("at most 64 operations"));
}

}  // namespace
}  // namespace nemotron::runtime
