#include "runtime/base/safetensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>

#include "tests/runtime/base/temporary_folder.h"

namespace nemotron::runtime {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

/// A file with this header, as long as it says, and `data_bytes` bytes of data.
std::string File(const std::string& header, size_t data_bytes) {
  const uint64_t length = header.size();
  return std::string(reinterpret_cast<const char*>(&length), sizeof(length)) + header + std::string(data_bytes, '\1');
}

StatusOr<SafetensorsHeader> Parse(const std::string& file) { return ParseSafetensors(std::as_bytes(std::span(file))); }

TEST(SafetensorsTest, ReadsTensorsInOrderOfData) {
  const std::string file = File(R"({"b": {"dtype": "BF16", "shape": [2, 3], "data_offsets": [4, 16]},
                                    "__metadata__": {"format": "pt"},
                                    "a": {"dtype": "I32", "shape": [], "data_offsets": [0, 4]},
                                    "empty": {"dtype": "F32", "shape": [0, 5], "data_offsets": [16, 16]}})",
                                16);
  const auto header = Parse(file);
  ASSERT_TRUE(header.ok()) << header.status().message();
  ASSERT_EQ(header->entries.size(), 3);
  const auto data = static_cast<int64_t>(file.size()) - 16;
  EXPECT_EQ(header->entries[0].name, "a");
  EXPECT_EQ(header->entries[0].dtype, DType::kI32);
  EXPECT_TRUE(header->entries[0].shape.empty());
  EXPECT_EQ(header->entries[0].offset_bytes, data);
  EXPECT_EQ(header->entries[1].name, "b");
  EXPECT_THAT(header->entries[1].shape, ElementsAre(2, 3));
  EXPECT_EQ(header->entries[1].offset_bytes, data + 4);
  EXPECT_EQ(header->entries[1].size_bytes, 12);
  EXPECT_THAT(header->entries[2].shape, ElementsAre(0, 5));
  EXPECT_EQ(header->metadata.at("format"), "pt");
  EXPECT_EQ(header->json.front(), '{');
}

TEST(SafetensorsTest, ReadsEveryDType) {
  const std::pair<const char*, DType> dtypes[] = {
      {"F32", DType::kF32}, {"BF16", DType::kBF16}, {"F16", DType::kF16}, {"F8_E4M3", DType::kF8E4M3},
      {"I8", DType::kI8},   {"U8", DType::kU8},     {"I32", DType::kI32}, {"I64", DType::kI64}};
  for (const auto& [name, dtype] : dtypes) {
    const auto bytes = SizeOf(dtype);
    const auto header = Parse(
        File(fmt::format(R"({{"x": {{"dtype": "{}", "shape": [1], "data_offsets": [0, {}]}}}})", name, bytes), bytes));
    ASSERT_TRUE(header.ok()) << header.status().message();
    EXPECT_EQ(header->entries[0].dtype, dtype);
  }
}

struct Damage {
  const char* name;
  const char* header;
  size_t data_bytes;
  const char* message;
  StatusCode code = StatusCode::kDataLoss;
};

class SafetensorsDamageTest : public testing::TestWithParam<Damage> {};

TEST_P(SafetensorsDamageTest, IsNamed) {
  const auto header = Parse(File(GetParam().header, GetParam().data_bytes));
  ASSERT_FALSE(header.ok());
  EXPECT_EQ(header.status().code(), GetParam().code);
  EXPECT_THAT(header.status().message(), HasSubstr(GetParam().message));
}

INSTANTIATE_TEST_SUITE_P(
    All, SafetensorsDamageTest,
    testing::Values(
        Damage{"no_json", "nothing", 0, "malformed"}, Damage{"empty_header", "", 0, "malformed"},
        Damage{"no_object", "[]", 0, "header is array, expected an object"},
        Damage{"twice", R"({"a": {}, "a": {}})", 0, "names the key 'a' twice"},
        Damage{"metadata_list", R"({"__metadata__": ["a"]})", 0, "'__metadata__' is array"},
        Damage{"metadata_number", R"({"__metadata__": {"a": 1}})", 0,
               "'__metadata__' has a value for 'a' that is number"},
        Damage{"no_description", R"({"a": 1})", 0, "tensor 'a' is described by number"},
        Damage{"no_dtype", R"({"a": {"shape": [], "data_offsets": [0, 4]}})", 4, "tensor 'a' has no 'dtype'"},
        Damage{"unknown_dtype", R"({"a": {"dtype": "F64", "shape": [], "data_offsets": [0, 8]}})", 8,
               "tensor 'a' has dtype 'F64', expected one of F32", StatusCode::kUnimplemented},
        Damage{"no_shape", R"({"a": {"dtype": "F32", "data_offsets": [0, 4]}})", 4, "tensor 'a' has no 'shape'"},
        Damage{"negative", R"({"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}})", 4,
               "'a' has no 'shape'"},
        Damage{"fraction", R"({"a": {"dtype": "F32", "shape": [1.0], "data_offsets": [0, 4]}})", 4,
               "'a' has no 'shape'"},
        Damage{"no_offsets", R"({"a": {"dtype": "F32", "shape": []}})", 4, "'a' has no 'data_offsets' of two"},
        Damage{"one_offset", R"({"a": {"dtype": "F32", "shape": [], "data_offsets": [4]}})", 4, "of two"},
        Damage{"backwards", R"({"a": {"dtype": "F32", "shape": [], "data_offsets": [4, 0]}})", 4,
               "takes bytes 4 to 0 of 4"},
        Damage{"beyond", R"({"a": {"dtype": "F32", "shape": [], "data_offsets": [1, 5]}})", 4,
               "takes bytes 1 to 5 of 4"},
        Damage{"far_beyond", R"({"a": {"dtype": "F32", "shape": [], "data_offsets": [0, 18446744073709551615]}})", 4,
               "takes bytes 0 to 18446744073709551615"},
        Damage{"size", R"({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}})", 4,
               "tensor 'a' has 4 bytes, expected 8 for its shape and dtype"},
        Damage{"overflow", R"({"a": {"dtype": "F32", "shape": [4294967296, 4294967296], "data_offsets": [0, 0]}})", 0,
               "tensor 'a' has a shape of more than 2^62 bytes"},
        Damage{"dimension_after_zero",
               R"({"a": {"dtype": "F32", "shape": [0, 9223372036854775808], "data_offsets": [0, 0]}})", 0,
               "tensor 'a' has a shape of more than 2^62 bytes"},
        Damage{"overlap", R"({"a": {"dtype": "F32", "shape": [], "data_offsets": [0, 4]},
                              "b": {"dtype": "F32", "shape": [], "data_offsets": [2, 6]}})",
               6, "tensor 'b' starts at byte 2 of the data, expected 4: tensors overlap"},
        Damage{"hole", R"({"a": {"dtype": "F32", "shape": [], "data_offsets": [0, 4]},
                           "b": {"dtype": "F32", "shape": [], "data_offsets": [5, 9]}})",
               9, "tensor 'b' starts at byte 5 of the data, expected 4: tensors leave a hole"},
        Damage{"surplus", R"({"a": {"dtype": "F32", "shape": [], "data_offsets": [0, 4]}})", 5, "tensors end at byte"}),
    [](const auto& info) { return std::string(info.param.name); });

TEST(SafetensorsTest, ChecksTheHeaderLength) {
  EXPECT_THAT(Parse("short").status().message(), HasSubstr("file has 5 bytes"));
  for (const uint64_t length : {uint64_t{3}, uint64_t{100'000'001}, ~uint64_t{0}}) {
    std::string file = File("{}", 0);
    std::memcpy(file.data(), &length, sizeof(length));
    EXPECT_THAT(Parse(file).status().message(), HasSubstr(fmt::format("header is said to have {} bytes", length)));
  }
}

TEST(SafetensorsTest, EveryTruncationIsAnError) {
  const std::string file = File(R"({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}})", 8);
  ASSERT_TRUE(Parse(file).ok());
  for (size_t size = 0; size < file.size(); ++size) {
    EXPECT_FALSE(Parse(file.substr(0, size)).ok()) << size;
  }
}

TEST(SafetensorsFileTest, WritesAndReads) {
  const TemporaryFolder folder;
  const std::string path = folder.Path("a.safetensors");
  const float floats[] = {1.5f, -2.0f, 3.0f, 0.0f, 5.0f, 6.0f};
  const int64_t ints[] = {1, 2, 3};
  const uint8_t bytes[] = {7};
  const uint16_t halves[] = {0x3F80, 0};
  const SafetensorsTensor tensors[] = {{"logits", DType::kF32, {2, 3}, std::as_bytes(std::span(floats))},
                                       {"ids", DType::kI64, {3}, std::as_bytes(std::span(ints))},
                                       {"\"odd\" name\n", DType::kU8, {}, std::as_bytes(std::span(bytes))},
                                       {"none", DType::kF32, {0}, {}},
                                       {"w", DType::kBF16, {1, 2}, std::as_bytes(std::span(halves))}};
  ASSERT_TRUE(WriteSafetensors(path, tensors).ok());
  const auto file = SafetensorsFile::Open(path);
  ASSERT_TRUE(file.ok()) << file.status().message();
  EXPECT_EQ(file->header().entries.size(), 5);
  for (const SafetensorsTensor& tensor : tensors) {
    const SafetensorsEntry* entry = file->Find(tensor.name);
    ASSERT_NE(entry, nullptr) << tensor.name;
    EXPECT_EQ(entry->dtype, tensor.dtype);
    EXPECT_EQ(entry->shape, tensor.shape);
    const auto data = file->Data(*entry);
    ASSERT_EQ(data.size(), tensor.data.size());
    EXPECT_TRUE(std::equal(data.begin(), data.end(), tensor.data.begin()));
  }
  EXPECT_EQ(file->header().entries[0].offset_bytes % 8, 0);
  EXPECT_EQ(file->Find("absent"), nullptr);
}

TEST(SafetensorsFileTest, RefusesDataOfAnotherSize) {
  const TemporaryFolder folder;
  const SafetensorsTensor short_one[] = {{"x", DType::kF32, {2}, {}}};
  Status status = WriteSafetensors(folder.Path("a"), short_one);
  EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(status.message(), "tensor 'x' has 0 bytes of data, expected 8 for its shape and dtype");
  const SafetensorsTensor negative[] = {{"x", DType::kF32, {-2}, {}}};
  status = WriteSafetensors(folder.Path("a"), negative);
  EXPECT_THAT(status.message(), HasSubstr("tensor 'x' has a dimension -2"));
  EXPECT_EQ(folder.NumFiles(), 0);
}

TEST(SafetensorsFileTest, ErrorsNameThePath) {
  const TemporaryFolder folder;
  const auto file = SafetensorsFile::Open(folder.Write("bad.safetensors", "xy"));
  EXPECT_THAT(file.status().message(), AllOf(HasSubstr("file has 2 bytes"), HasSubstr("bad.safetensors'")));
}

TEST(SafetensorsFileTest, ReadsAGolden) {
  const auto file = SafetensorsFile::Open(NEMOTRON_TEST_DATA "/goldens/nemotron-4/golden.safetensors");
  ASSERT_TRUE(file.ok()) << file.status().message();
  const SafetensorsEntry* ids = file->Find("greedy_ids");
  ASSERT_NE(ids, nullptr);
  EXPECT_EQ(ids->dtype, DType::kI64);
  EXPECT_THAT(ids->shape, ElementsAre(12));
}

}  // namespace
}  // namespace nemotron::runtime
