#include "runtime/base/cgroup.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "tests/runtime/base/temporary_folder.h"

namespace nemotron::runtime {
namespace {

using Paths = std::vector<std::string>;

/// A folder that looks like /.
class CgroupTest : public ::testing::Test {
 protected:
  void SetUp() override { std::filesystem::create_directories(root_.Path("proc/self")); }
  void Groups(const std::string& text) { root_.Write("proc/self/cgroup", text); }
  void MakeFolder(const std::string& path) { std::filesystem::create_directories(root_.Path(path)); }
  /// "version:path below /sys/fs/cgroup".
  Paths Folders(std::string_view controller) {
    const std::string mounts = root_.Path("sys/fs/cgroup");
    Paths found;
    for (const CgroupFolder& folder : CgroupFolders(controller, root_.Path(""))) {
      // The root ends with a slash here.
      const std::string path = std::filesystem::path(folder.path).lexically_normal().string();
      EXPECT_TRUE(path.starts_with(mounts)) << path;
      found.push_back(std::to_string(folder.version) + ":" + path.substr(mounts.size()));
    }
    return found;
  }
  TemporaryFolder root_;
};

TEST_F(CgroupTest, ItselfAndAllAncestorsOfVersion2) {
  Groups("0::/work/pod/box\n");
  EXPECT_EQ(Folders("cpu"), (Paths{"2:/work/pod/box", "2:/work/pod", "2:/work", "2:"}));
}

TEST_F(CgroupTest, TheRootOfANamespace) {
  Groups("0::/\n");
  EXPECT_EQ(Folders("cpu"), Paths{"2:"});
  Groups("0::/../other\n");
  EXPECT_EQ(Folders("cpu"), Paths{"2:"});
}

TEST_F(CgroupTest, TheControllerOfVersion1) {
  Groups("12:cpu,cpuacct:/a/b\n3:memory:/c\n2:cpuset:/d\n");
  MakeFolder("sys/fs/cgroup/memory");
  EXPECT_EQ(Folders("memory"), (Paths{"1:/memory/c", "1:/memory"}));
  EXPECT_EQ(Folders("cpu"), (Paths{"1:/cpu,cpuacct/a/b", "1:/cpu,cpuacct/a", "1:/cpu,cpuacct"}));
  MakeFolder("sys/fs/cgroup/cpu");
  EXPECT_EQ(Folders("cpu"), (Paths{"1:/cpu/a/b", "1:/cpu/a", "1:/cpu"}));
}

TEST_F(CgroupTest, BothVersionsSideBySide) {
  Groups("3:memory:/c\n0::/e\n");
  MakeFolder("sys/fs/cgroup/memory");
  MakeFolder("sys/fs/cgroup/unified");
  EXPECT_EQ(Folders("memory"), (Paths{"1:/memory/c", "1:/memory", "2:/unified/e", "2:/unified"}));
}

TEST_F(CgroupTest, NothingThatReadsLikeAGroup) {
  EXPECT_EQ(Folders("cpu"), Paths{});
  Groups("\nabc\n5\n0:\n7:cpuacct:/x\n");
  EXPECT_EQ(Folders("cpu"), Paths{});
}

}  // namespace
}  // namespace nemotron::runtime
