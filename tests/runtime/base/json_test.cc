#include "runtime/base/json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "tests/runtime/base/temporary_folder.h"

namespace nemotron::runtime {
namespace {

using testing::AllOf;
using testing::HasSubstr;

constexpr double kInfinity = std::numeric_limits<double>::infinity();

Json Parse(std::string_view text) {
  auto value = ParseJson(text);
  EXPECT_TRUE(value.ok()) << text << ": " << value.status().message();
  return value.ok() ? *value : Json();
}

std::string Error(std::string_view text) {
  const auto value = ParseJson(text);
  EXPECT_FALSE(value.ok()) << text;
  EXPECT_EQ(value.status().code(), StatusCode::kDataLoss);
  return value.status().message();
}

TEST(JsonTest, ParsesWhatTheLibraryParses) {
  for (const std::string text :
       {R"({"a": [1, -2, 3.5, true, false, null, "x\n\u00e9", {}, []], "b": {"c": [[[]]]}})", "[]", "1", R"("x")",
        "null", R"([18446744073709551615, -9223372036854775808, 1e308])", R"(["Infinity", "a\"NaN", "1e999", "\\"])"}) {
    EXPECT_EQ(Parse(text), Json::parse(text)) << text;
  }
}

TEST(JsonTest, TakesNumbersAsPythonWritesThem) {
  const Json value = Parse(R"({"a": Infinity, "b": [-Infinity, NaN, 1e309, -1e309], "c": "NaN", "d": 2})");
  EXPECT_EQ(value["a"], kInfinity);
  EXPECT_EQ(value["b"][0], -kInfinity);
  EXPECT_TRUE(std::isnan(value["b"][1].get<double>()));
  EXPECT_EQ(value["b"][2], kInfinity);
  EXPECT_EQ(value["b"][3], -kInfinity);
  EXPECT_EQ(value["c"], "NaN");
  EXPECT_EQ(value["d"], 2);
  EXPECT_EQ(Parse("NaN").type(), Json::value_t::number_float);
  EXPECT_EQ(Parse(std::string(400, '9')), kInfinity);
  EXPECT_EQ(Parse(std::string(400, '9') + "e-399"), 10.0);
  EXPECT_EQ(Parse("1e-400"), 0.0);
}

TEST(JsonTest, SaysWhereTextIsMalformed) {
  EXPECT_THAT(Error("{\n  \"a\": ,\n}"), AllOf(HasSubstr("line 2, column 8"), HasSubstr("byte 9 of 12")));
  // A replaced number before the error does not move it.
  EXPECT_THAT(Error("[NaN, Infinity, ?]"), HasSubstr("line 1, column 17"));
  EXPECT_THAT(Error("[1, 2"), HasSubstr("line 1, column 6"));
  for (const std::string_view text : {"", " ", "{", "[1,]", "{\"a\"}", "01", "\"x", "\"\\x\"", "nul", "1 2", "Infinit",
                                      "-NaN", "NaNNaN", "{NaN: 1}", "'a'", "[1e5.5]", "\"\xff\"", "\"a\nb\"", "+1"}) {
    EXPECT_THAT(Error(text), HasSubstr("JSON")) << text;
  }
}

TEST(JsonTest, RefusesAKeyNamedTwice) {
  EXPECT_THAT(Error(R"({"a": 1, "b": {"a": 1}, "a": 2})"), HasSubstr("names the key 'a' twice"));
  EXPECT_EQ(Parse(R"([{"a": 1}, {"a": 2}])").size(), 2);
}

TEST(JsonTest, BoundsTheDepth) {
  const auto nested = [](int depth) { return std::string(depth, '[') + std::string(depth, ']'); };
  EXPECT_TRUE(ParseJson(nested(256)).ok());
  EXPECT_THAT(Error(nested(257)), HasSubstr("nested deeper than 256"));
  EXPECT_THAT(Error(std::string(1'000'000, '[')), HasSubstr("nested deeper than 256"));
}

TEST(JsonTest, ReadsFiles) {
  const TemporaryFolder folder;
  const auto value = ReadJsonFile(folder.Write("a.json", R"({"a": 1})"));
  ASSERT_TRUE(value.ok());
  EXPECT_EQ((*value)["a"], 1);
  const auto bad = ReadJsonFile(folder.Write("b.json", "{"));
  EXPECT_THAT(bad.status().message(), AllOf(HasSubstr("malformed"), HasSubstr("while reading '"), HasSubstr("b.json")));
  EXPECT_EQ(ReadJsonFile(folder.Path("missing")).status().code(), StatusCode::kNotFound);
}

TEST(JsonGettersTest, GiveTheValueOrTheFallback) {
  const Json object = Parse(R"({"i": -3, "f": 4.0, "d": 0.5, "b": true, "s": "text", "n": null,
                                "inf": Infinity, "exported": {"__float__": "-Infinity"}, "word": "NaN"})");
  EXPECT_EQ(*GetInt(object, "i", 7), -3);
  EXPECT_EQ(*GetInt(object, "f", 7), 4);
  EXPECT_EQ(*GetInt(object, "absent", 7), 7);
  EXPECT_EQ(*GetInt(object, "n", 7), 7);
  EXPECT_EQ(*GetDouble(object, "d", 7), 0.5);
  EXPECT_EQ(*GetDouble(object, "i", 7), -3.0);
  EXPECT_EQ(*GetDouble(object, "inf", 7), kInfinity);
  EXPECT_EQ(*GetDouble(object, "exported", 7), -kInfinity);
  EXPECT_TRUE(std::isnan(*GetDouble(object, "word", 7)));
  EXPECT_EQ(*GetDouble(object, "absent", 7), 7.0);
  EXPECT_EQ(*GetBool(object, "b", false), true);
  EXPECT_EQ(*GetBool(object, "absent", true), true);
  EXPECT_EQ(*GetString(object, "s", "x"), "text");
  EXPECT_EQ(*GetString(object, "absent", "x"), "x");
}

TEST(JsonGettersTest, NameKeyFoundAndExpected) {
  const Json object =
      Parse(R"({"x": "seven", "big": 18446744073709551615, "half": 0.5, "list": [1, 2], "inf": Infinity})");
  const auto message = [](const auto& result) {
    EXPECT_FALSE(result.ok());
    EXPECT_EQ(result.status().code(), StatusCode::kInvalidArgument);
    return result.status().message();
  };
  EXPECT_EQ(message(GetInt(object, "x", 0)), R"('x' is "seven", expected an integer)");
  EXPECT_EQ(message(GetInt(object, "big", 0)), "'big' is 18446744073709551615, expected a 64-bit integer");
  EXPECT_EQ(message(GetInt(object, "half", 0)), "'half' is 0.5, expected an integer");
  EXPECT_THAT(message(GetInt(object, "inf", 0)), HasSubstr("expected an integer"));
  EXPECT_EQ(message(GetDouble(object, "x", 0)), R"('x' is "seven", expected a number)");
  EXPECT_EQ(message(GetBool(object, "half", false)), "'half' is 0.5, expected true or false");
  EXPECT_EQ(message(GetString(object, "list", "")), "'list' is array of 2, expected a string");
}

}  // namespace
}  // namespace nemotron::runtime
