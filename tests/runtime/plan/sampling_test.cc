#include "runtime/plan/sampling.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>

namespace nemotron::runtime {
namespace {

constexpr int kHalving = 1 << kDistanceBits;

/// All distances of two halvings; what lies further is shifted.
TEST(WeightTest, IsThePowerOfTwoAndFallsWithEachStep) {
  EXPECT_EQ(Weight(0), Amount{1} << kWeightBits);
  Amount before = Weight(0);
  double largest_error = 0;
  for (int distance = 1; distance <= 2 * kHalving; ++distance) {
    const Amount weight = Weight(distance);
    ASSERT_LT(weight, before) << distance;
    before = weight;
    const double expected = std::exp2(kWeightBits - static_cast<double>(distance) / kHalving);
    largest_error = std::max(largest_error, std::fabs(static_cast<double>(weight) / expected - 1));
  }
  EXPECT_LT(largest_error, 0x1p-22);
  for (int halvings = 0; halvings <= kWeightBits; ++halvings) {
    EXPECT_EQ(Weight(halvings * kHalving), Amount{1} << (kWeightBits - halvings));
    EXPECT_EQ(Weight(halvings * kHalving + 12345), Weight(12345) >> halvings);
  }
  EXPECT_EQ(Weight(kWeightBits * kHalving + 1), 0);
  EXPECT_EQ(Weight(kImpossible), 0);
}

TEST(DistanceTest, IsOfHalvingsBelowTheMaximum) {
  EXPECT_EQ(Distance(3, 3, kScale), 0);
  EXPECT_NEAR(Distance(3 - std::log(2.0f), 3, kScale), kHalving, 8);  // a logit has a step of 2^-22
  EXPECT_NEAR(Distance(3 - std::log(2.0f), 3, kScale / 4), kHalving / 4, 4);
  EXPECT_EQ(Distance(std::nextafter(1.0f, 0.0f), 1, kScale / 1024), 1);  // never as likely as the maximum
  EXPECT_EQ(Distance(-0.0f, 0.0f, kScale), 0);
}

TEST(DistanceTest, TakesInfinitiesAndNaN) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity(), kMax = std::numeric_limits<float>::max();
  for (const float logit : {-kInfinity, -kMax, -1000.0f, std::nanf("")}) {
    EXPECT_EQ(Distance(logit, 1, kScale), kImpossible);
    EXPECT_EQ(Distance(logit, kInfinity, kScale), kImpossible);
    EXPECT_EQ(Distance(logit, 1, kMax), kImpossible);
  }
  EXPECT_EQ(Distance(kInfinity, kInfinity, kMax), 0);
}

TEST(MultiplyHighTest, IsTheUpperHalfOfTheProduct) {
  std::mt19937_64 random(5);
  for (int round = 0; round < 10000; ++round) {
    const Amount a = random() >> random() % 64, b = random() >> random() % 64;
    ASSERT_EQ(MultiplyHigh(a, b), static_cast<Amount>(static_cast<unsigned __int128>(a) * b >> 64)) << a << " " << b;
  }
  EXPECT_EQ(MultiplyHigh(~Amount{0}, ~Amount{0}), ~Amount{0} - 1);
}

TEST(TopPAmountTest, IsOneAtLeast) {
  EXPECT_EQ(TopPAmount(Amount{1} << 63, 1000), 500);
  EXPECT_EQ(TopPAmount(1, 1000), 1);
}

}  // namespace
}  // namespace nemotron::runtime
