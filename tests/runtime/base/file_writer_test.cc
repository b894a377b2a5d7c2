#include "runtime/base/file_writer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <csignal>

#include "tests/runtime/base/temporary_folder.h"

namespace nemotron::runtime {
namespace {

using testing::HasSubstr;

std::span<const std::byte> Bytes(std::string_view text) { return std::as_bytes(std::span(text)); }

TEST(FileWriterTest, AppearsOnCommit) {
  const TemporaryFolder folder;
  folder.Write("a", "old");
  auto writer = FileWriter::Create(folder.Path("a"));
  ASSERT_TRUE(writer.ok()) << writer.status().message();
  ASSERT_TRUE(writer->Append(Bytes("hello")).ok());
  ASSERT_TRUE(writer->AlignTo(8).ok());
  ASSERT_TRUE(writer->AlignTo(8).ok());
  ASSERT_TRUE(writer->Append(Bytes("end")).ok());
  ASSERT_TRUE(writer->WriteAt(1, Bytes("EL")).ok());
  EXPECT_EQ(writer->size_bytes(), 11);
  EXPECT_EQ(folder.Read("a"), "old");
  EXPECT_EQ(folder.NumFiles(), 2);
  ASSERT_TRUE(writer->Commit().ok());
  EXPECT_EQ(folder.Read("a"), std::string("hELlo\0\0\0end", 11));
  EXPECT_EQ(folder.NumFiles(), 1);
  EXPECT_EQ(writer->Commit().code(), StatusCode::kFailedPrecondition);
  EXPECT_FALSE(writer->Append(Bytes("late")).ok());
}

TEST(FileWriterTest, LeavesNothingWithoutCommit) {
  const TemporaryFolder folder;
  {
    auto writer = FileWriter::Create(folder.Path("a"));
    ASSERT_TRUE(writer.ok());
    ASSERT_TRUE(writer->Append(Bytes("hello")).ok());
    const FileWriter moved = std::move(*writer);
    EXPECT_EQ(folder.NumFiles(), 1);
  }
  EXPECT_EQ(folder.NumFiles(), 0);
}

TEST(FileWriterTest, RefusesBytesThatAreNotThere) {
  const TemporaryFolder folder;
  auto writer = FileWriter::Create(folder.Path("a"));
  ASSERT_TRUE(writer.ok());
  ASSERT_TRUE(writer->Append(Bytes("hello")).ok());
  EXPECT_TRUE(writer->WriteAt(5, {}).ok());
  for (const int64_t offset : {int64_t{-1}, int64_t{4}, int64_t{6}, INT64_MAX}) {
    const Status status = writer->WriteAt(offset, Bytes("xy"));
    EXPECT_EQ(status.code(), StatusCode::kInvalidArgument) << offset;
    EXPECT_THAT(status.message(), HasSubstr("were not written yet"));
  }
  EXPECT_EQ(writer->AlignTo(0).code(), StatusCode::kInvalidArgument);
}

TEST(FileWriterTest, NamesThePathThatCannotBeWritten) {
  const TemporaryFolder folder;
  const auto no_folder = FileWriter::Create(folder.Path("missing/a"));
  EXPECT_EQ(no_folder.status().code(), StatusCode::kNotFound);
  EXPECT_THAT(no_folder.status().message(), HasSubstr("missing/a'"));

  std::filesystem::create_directory(folder.Path("taken"));
  auto writer = FileWriter::Create(folder.Path("taken"));
  ASSERT_TRUE(writer.ok());
  const Status status = writer->Commit();
  EXPECT_EQ(status.code(), StatusCode::kUnavailable);
  EXPECT_THAT(status.message(), testing::AllOf(HasSubstr("cannot rename"), HasSubstr("/taken'")));
  EXPECT_EQ(folder.NumFiles(), 1);  // the folder alone
}

TEST(FileWriterTest, ReportsAFileThatCannotGrow) {
  const TemporaryFolder folder;
  auto writer = FileWriter::Create(folder.Path("a"));
  ASSERT_TRUE(writer.ok());
  // As on a full disk, a write is cut short and the next one fails.
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  const rlimit limit{100, before.rlim_max};
  const auto old_handler = std::signal(SIGXFSZ, SIG_IGN);
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &limit), 0);
  const Status status = writer->Append(Bytes(std::string(200, 'x')));
  setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, old_handler);
  EXPECT_EQ(status.code(), StatusCode::kResourceExhausted);
  EXPECT_THAT(status.message(), testing::AllOf(HasSubstr("cannot write 100 bytes at 100"), HasSubstr("/a'")));
}

}  // namespace
}  // namespace nemotron::runtime
