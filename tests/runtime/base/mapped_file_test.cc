#include "runtime/base/mapped_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <limits>

#include "tests/runtime/base/temporary_folder.h"

namespace nemotron::runtime {
namespace {

using testing::HasSubstr;

std::string Text(const MappedFile& file) {
  return {reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()};
}

TEST(MappedFileTest, MapsAllBytes) {
  const TemporaryFolder folder;
  const auto file = MappedFile::Open(folder.Write("a", "some\0bytes"));
  ASSERT_TRUE(file.ok()) << file.status().message();
  EXPECT_EQ(Text(*file), "some");
  EXPECT_EQ(file->size_bytes(), 4);
}

TEST(MappedFileTest, EmptyFileHasNoBytes) {
  const TemporaryFolder folder;
  const auto file = MappedFile::Open(folder.Write("empty", ""));
  ASSERT_TRUE(file.ok()) << file.status().message();
  EXPECT_EQ(file->size_bytes(), 0);
  file->Advise(0, 10, MappedFile::Advice::kWillNeed);
}

TEST(MappedFileTest, MovedFileStaysMapped) {
  const TemporaryFolder folder;
  auto file = MappedFile::Open(folder.Write("a", "some bytes"));
  ASSERT_TRUE(file.ok());
  MappedFile other = std::move(*file);
  EXPECT_EQ(Text(other), "some bytes");
  MappedFile third;
  third = std::move(other);
  EXPECT_EQ(Text(third), "some bytes");
}

TEST(MappedFileTest, AdviceKeepsTheBytes) {
  const TemporaryFolder folder;
  const std::string bytes(20000, 'x');
  const auto file = MappedFile::Open(folder.Write("a", bytes));
  ASSERT_TRUE(file.ok());
  constexpr int64_t kMax = std::numeric_limits<int64_t>::max();
  for (const auto advice :
       {MappedFile::Advice::kSequential, MappedFile::Advice::kWillNeed, MappedFile::Advice::kDontNeed}) {
    for (const auto& [offset, length] : {std::pair<int64_t, int64_t>{0, 20000},
                                         {1, 5000},
                                         {-5, 10},
                                         {4096, kMax},
                                         {kMax, kMax},
                                         {100, -1},
                                         {19999, 1}}) {
      file->Advise(offset, length, advice);
    }
  }
  EXPECT_EQ(Text(*file), bytes);
}

TEST(MappedFileTest, RefusesWhatIsNoFile) {
  const TemporaryFolder folder;
  const auto missing = MappedFile::Open(folder.Path("missing"));
  EXPECT_EQ(missing.status().code(), StatusCode::kNotFound);
  EXPECT_THAT(missing.status().message(), testing::AllOf(HasSubstr("/missing'"), HasSubstr("No such file")));

  const auto directory = MappedFile::Open(folder.Path(""));
  EXPECT_EQ(directory.status().code(), StatusCode::kInvalidArgument);
  EXPECT_THAT(directory.status().message(), HasSubstr("is a folder, expected a regular file"));

  ASSERT_EQ(mkfifo(folder.Path("pipe").c_str(), 0600), 0);
  const auto pipe = MappedFile::Open(folder.Path("pipe"));
  EXPECT_EQ(pipe.status().code(), StatusCode::kInvalidArgument);
  EXPECT_THAT(pipe.status().message(), HasSubstr("/pipe' is not a regular file"));
}

}  // namespace
}  // namespace nemotron::runtime
